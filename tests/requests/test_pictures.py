"""Pictures beside requests."""

import pytest

from modules.requests.img2img import Img2ImgRequest, make_img2img_request
from modules.requests.pictures import Picture, pictures_of, with_pictures

A, B = Picture.of(b"a"), Picture.of(b"b")


def test_their_bytes_are_not_in_the_json_and_come_back():
    request = make_img2img_request({"init_images": [A, B, A], "mask": B})
    stored = Img2ImgRequest.model_validate_json(request.model_dump_json())
    assert [picture.data for picture in pictures_of(stored)] == [b""] * 4
    whole = with_pictures(stored, {A.sha256: b"a", B.sha256: b"b"})
    assert whole == request and [picture.data for picture in pictures_of(whole)] == [b"a", b"b", b"a", b"b"]
    with pytest.raises(KeyError):
        with_pictures(stored, {A.sha256: b"a"})
