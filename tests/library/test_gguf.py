"""GGUF headers: what the writer writes is read; what lies is refused quickly, in one sentence, in little memory."""

import struct
import subprocess
import sys

import gguf
import numpy as np
import pytest

from modules.core.errors import ModelFileError
from modules.library.gguf import TYPES, read_gguf

HUGE = 2**63
STRING, ARRAY, UINT32 = 8, 9, 4


def write(path, tensors, architecture="flux", **arrays):
    """`tensors`: name -> (values, type)."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, values in arrays.items():
        writer.add_array(name.replace("__", "."), values)
    for name, (values, kind) in tensors.items():
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.fixture
def whole(tmp_path):
    kinds = gguf.GGMLQuantizationType
    tensors = {"a.weight": (values(8, 64), kinds.Q8_0), "b.bias": (values(7), kinds.F32)}
    return write(tmp_path / "x.gguf", tensors, tokens=["one", "two"], comfy__gguf__orig_shape__b=[7, 1])


def test_what_is_written_is_read(whole):
    header = read_gguf(whole)
    assert {name: packed.shape for name, packed in header.tensors.items()} == {"a.weight": (8, 64), "b.bias": (7,)}
    assert header.architecture == "flux"
    reader = gguf.GGUFReader(whole)
    wanted = {tensor.name: (tensor.data_offset, tensor.n_bytes, int(tensor.tensor_type)) for tensor in reader.tensors}
    assert {name: (p.start, p.size, p.type) for name, p in header.tensors.items()} == wanted


def test_sizes_of_types_are_ggmls():
    for number, (label, block, size) in TYPES.items():
        kind = gguf.GGMLQuantizationType(number)
        assert (kind.name, gguf.GGML_QUANT_SIZES[kind]) == (label, (block, size))


def text(words):
    return struct.pack("<Q", len(words)) + words


def start(tensors=1, keys=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def tensor(name=b"w", dimensions=(32,), kind=0, offset=0):
    return (
        text(name)
        + struct.pack("<I", len(dimensions))
        + struct.pack(f"<{len(dimensions)}QIQ", *dimensions, kind, offset)
    )


NESTED = start(keys=1) + text(b"k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 5) * 1000
LIES = {
    "magic": (b"GGML" + bytes(60), "does not begin with GGUF"),
    "page": (b"<html><body>login", "is a web page"),
    "empty": (b"", "is no GGUF file"),
    "short": (b"GGUF\x03", "is incomplete"),
    "version": (start(version=9), "GGUF of version 9"),
    "tensors": (start(tensors=HUGE), "at most"),
    "keys": (start(keys=HUGE), "at most"),
    "key length": (start(keys=1) + struct.pack("<Q", HUGE), "is incomplete"),
    "text length": (start(keys=1) + text(b"k") + struct.pack("<IQ", STRING, HUGE), "is incomplete"),
    "array length": (start(keys=1) + text(b"k") + struct.pack("<IIQ", ARRAY, UINT32, HUGE), "is incomplete"),
    "texts": (start(keys=1) + text(b"k") + struct.pack("<IIQ", ARRAY, STRING, HUGE), "lists of more than"),
    "nested": (NESTED, "value is of type 9"),
    "value type": (start(keys=1) + text(b"k") + struct.pack("<I", 77), "of type 77"),
    "dimensions": (start() + tensor(dimensions=(1,) * 9), "9 dimensions"),
    "overflow": (start() + tensor(dimensions=(2**62, 2**62)), "is incomplete"),
    "none": (start() + tensor(dimensions=(0,)), "does not fill"),
    "block": (start() + tensor(dimensions=(33,), kind=8), "does not fill blocks of 32"),
    "type": (start() + tensor(kind=19), 'packs "w" as type 19'),
    "beyond": (start() + tensor(dimensions=(4096,)) + bytes(64), "is incomplete"),
    "offset": (start() + tensor(offset=HUGE) + bytes(4096), "is incomplete"),
    "twice": (start(tensors=2) + tensor() + tensor() + bytes(4096), "twice"),
    "nothing": (start(tensors=0), "holds no weights"),
    "alignment": (
        start(keys=1) + text(b"general.alignment") + struct.pack("<II", UINT32, 0) + tensor() + bytes(4096),
        "alignment is 0",
    ),
}


@pytest.mark.parametrize("case", LIES)
def test_M10_lies_are_one_sentence(tmp_path, case):
    path = tmp_path / "x.gguf"
    content, said = LIES[case]
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read_gguf(path)
    assert said in caught.value.message
    assert '"x.gguf"' in caught.value.message


def test_M10_a_bomb_takes_little_memory(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(start(tensors=2, keys=1) + text(b"k") + struct.pack("<IIQ", ARRAY, STRING, 1_400_000))
    with path.open("r+b") as file:
        file.truncate(2**33)  # a hole: every text in it is empty
    code = (
        "import resource, sys; from pathlib import Path; from modules.library.gguf import read_gguf\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_gguf(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    name, grown = said.split()
    assert name == "ModelFileError"
    assert int(grown) < 50 * 1024


def test_a_truncated_file_is_incomplete(whole):
    content = whole.read_bytes()
    for end in (len(content) - 64, 200, 30):
        whole.write_bytes(content[:end])
        with pytest.raises(ModelFileError, match="is incomplete"):
            read_gguf(whole)


def test_no_file_and_no_regular_file(tmp_path):
    for path in (tmp_path / "gone.gguf", tmp_path):
        with pytest.raises(ModelFileError, match="cannot be read"):
            read_gguf(path)
