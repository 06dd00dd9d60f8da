"""Headers of safetensors files, whole, broken and hostile."""

import json
import os
import resource
import struct

import pytest

from modules.core.errors import ModelFileError
from modules.library.header import MAX_HEADER, MAX_TENSORS, read_header
from tests.jobs.helpers import write_checkpoint

GOOD = {"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}


def file_of(header: object, data: bytes = b"\0" * 4) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(**values: object) -> dict:
    return {"weight": {**GOOD["weight"], **values}}


def test_a_good_one(tmp_path):
    path = write_checkpoint(tmp_path / "m.safetensors", {"a": "b"})
    assert read_header(path).shapes == {"weight": (1,)}
    assert read_header(path).metadata == {"a": "b"}


DEEP = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BROKEN = {
    "empty": (b"", "0 bytes"),
    "seven bytes": (b"1234567", "7 bytes"),
    "length 2^63-1": (struct.pack("<Q", 2**63 - 1) + b"x" * 100, "not a valid safetensors"),
    "length 2^40": (struct.pack("<Q", 2**40) + b"x" * 100, "not a valid safetensors"),
    "length beyond the end": (struct.pack("<Q", 5000) + b"x" * 100, "incomplete"),
    "web page": (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
    "web page with white space": (b"\n\n  <html>Log in</html> and more", "web page"),
    "zip": (b"PK\x03\x04" + b"\0" * 100, "pickle"),
    "pickle": (b"\x80\x02}q\x00." + b"\0" * 100, "pickle"),
    "no JSON": (file_of(b"{nope"), "damaged"),
    "not UTF-8": (file_of(b'{"\xff": 1}'), "damaged"),
    "array": (file_of([]), "damaged"),
    "number": (file_of(7), "damaged"),
    "null": (file_of(None), "damaged"),
    "deep": (file_of(DEEP), "damaged"),
    "long number": (file_of(b'{"a": ' + b"9" * 5000 + b"}"), "damaged"),
    "entry is no object": (file_of({"weight": 5}), "damaged"),
    "no shape": (file_of({"weight": {"dtype": "F32", "data_offsets": [0, 4]}}), "damaged"),
    "shape of words": (file_of(entry(shape=["x"])), "damaged"),
    "infinite shape": (file_of(b'{"weight": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}'), "damaged"),
    "NaN offset": (file_of(b'{"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, NaN]}}'), "damaged"),
    "one offset": (file_of(entry(data_offsets=[0])), "damaged"),
    "negative shape": (file_of(entry(shape=[-1])), "damaged"),
    "negative offset": (file_of(entry(data_offsets=[-4, 0])), "damaged"),
    "offsets backwards": (file_of(entry(data_offsets=[4, 0])), "damaged"),
    "huge shape": (file_of(entry(shape=[2**40, 2**40], data_offsets=[0, 2**82])), "incomplete"),
    "half of the weights": (file_of(entry(shape=[25], data_offsets=[0, 100]), b"\0" * 50), "incomplete"),
    "last byte missing": (file_of(GOOD, b"\0" * 3), "incomplete"),
    "shape 2^40 x 2^40": (file_of(entry(shape=[2**40, 2**40])), "not as long as its shape"),
    "a hundred sides": (file_of(entry(shape=[1] * 100)), "damaged"),
    "unknown type": (file_of(entry(dtype="F1")), 'unknown type "F1"'),
    "type that is no text": (file_of(entry(dtype=["F32"])), "unknown type"),
    "trailing bytes": (file_of(GOOD, b"\0" * 9), "5 bytes follow"),
    "no tensors, but data": (file_of({}, b"\0" * 4), "4 bytes follow"),
    "gap": (file_of(entry(data_offsets=[4, 8]), b"\0" * 8), "leaves a gap"),
    "gap between": (file_of({**GOOD, "b": {**GOOD["weight"], "data_offsets": [8, 12]}}, b"\0" * 12), "leaves a gap"),
    "overlap": (file_of({**GOOD, "b": {**GOOD["weight"], "data_offsets": [2, 6]}}, b"\0" * 6), "overlaps"),
    "twice": (file_of(b'{"weight": 1, "weight": 2}'), '"weight" twice'),
    "an entry with a field twice": (file_of(b'{"weight": {"dtype": "F32", "dtype": "F16"}}'), '"dtype" twice'),
    "1.2 million empty tensors": (file_of(b"{" + b" " * 71_000_000 + b"}"), "not a valid safetensors"),
    "too many tensors": (file_of({str(n): GOOD["weight"] for n in range(MAX_TENSORS + 1)}), "at most"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken(tmp_path, case):
    content, words = BROKEN[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    assert words in caught.value.message
    assert '"model.safetensors"' in caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_metadata_that_is_no_text_is_left_out(tmp_path):
    path = tmp_path / "m.safetensors"
    for metadata, found in (({"a": 1, "b": "c"}, {"b": "c"}), ([], {}), (None, {}), ("x", {})):
        path.write_bytes(file_of({"__metadata__": metadata, **GOOD}))
        assert read_header(path).metadata == found


def test_a_large_header_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER + 1))
        file.truncate(MAX_HEADER * 40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError, match="not a valid safetensors"):
        read_header(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000


def test_what_is_no_file(tmp_path):
    fifo, folder, loop, gone = (tmp_path / f"{name}.safetensors" for name in ("fifo", "folder", "loop", "gone"))
    os.mkfifo(fifo)
    folder.mkdir()
    loop.symlink_to(loop)
    for path in (fifo, folder, loop, gone):
        with pytest.raises(ModelFileError, match=path.name):
            read_header(path)
