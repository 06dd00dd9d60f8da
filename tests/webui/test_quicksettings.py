"""The checkpoint picker: what it lists, and what it says of files that cannot be used."""

from modules.core.paths import Paths
from modules.library.library import Library
from tests.jobs.helpers import write_checkpoint
from webui.parts.quicksettings import checkpoint_choices


def test_titles_may_have_no_folders(tmp_path):
    library = Library(Paths(data=tmp_path))
    write_checkpoint(library.paths.own("Stable-diffusion") / "photo" / "sub" / "a.safetensors")
    name = "photo/sub/a.safetensors"
    titles, short = ({name: title for title, name in checkpoint_choices(library, short=one)} for one in (False, True))
    assert (titles[name], short[name]) == (name, "a.safetensors")
    library.close()


def test_a_checkpoint_that_cannot_be_used_says_why(tmp_path):
    library = Library(Paths(data=tmp_path))
    folder = library.paths.own("Stable-diffusion")
    data = write_checkpoint(folder / "good.safetensors").read_bytes()
    (folder / "half.safetensors").write_bytes(data[:-1])
    (folder / "page.safetensors").write_bytes(b"<html>Please log in</html>")
    names = {"good.safetensors", "half.safetensors", "page.safetensors"}
    before = {name: title for title, name in checkpoint_choices(library)}
    assert all(before[name] == name for name in names)  # nothing is opened for it
    library.models("Stable-diffusion").read_list()
    titles = {name: title for title, name in checkpoint_choices(library)}
    library.close()
    assert titles["good.safetensors"] == "good.safetensors"
    assert titles["half.safetensors"] == (
        "half.safetensors ⚠ is incomplete: 4 bytes of weights were expected, 3 are there"
    )
    assert titles["page.safetensors"].endswith("⚠ is a web page, not a model (was a login needed?)")
