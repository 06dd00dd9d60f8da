"""Pictures without what they tell: the pixels stay, the texts go."""

import io

import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.images.bare import without_texts
from modules.images.encode import encode_image, read_infotext


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "avif", "gif"])
def test_texts_go_and_pixels_stay(form):
    picture = Image.linear_gradient("L").convert("RGB").resize((40, 30))
    data = encode_image(picture, "a secret prompt\nSteps: 1, Seed: 2, Size: 40x30", {"samples_format": form})
    assert "secret" in (read_infotext(data) or "")
    bare = without_texts(data)
    assert read_infotext(bare) is None
    assert b"secret" not in bare
    assert (
        Image.open(io.BytesIO(bare)).convert("RGB").tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()
    )


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe1", b"<html>"])
def test_what_is_no_picture(data):
    with pytest.raises(InputError):
        without_texts(data)
