"""Parts of a model that run on the CPU through OpenVINO: converted once from PyTorch, kept on disk, compiled for the size at hand."""

import logging
import shutil
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modules.core.errors import InputError, short
from modules.core.paths import ROOT
from modules.devices.conversion import Shape, Traced, convert
from modules.devices.edits import Edits, add_to_skips
from modules.devices.memory import free_memory, give_back, unmap_read
from modules.devices.slots import Additions, Slots

log = logging.getLogger(__name__)

LAYOUT = 2  # raised when what is kept on disk changes its meaning
SAMPLES = 8  # of each tensor, in a fingerprint
QUANTISED = "-int8"
QUANTISING = 7.5
"""Memory that quantising takes, in sizes of the part on disk: 12 GB for SD 1.5's U-Net."""

KEPT_BYTES = 60 * 2**30
VARIANTS = 4
"""Of a part, compiled for other sizes or with other weights, that are kept while there is memory for one more."""

MODEL = "model.xml"


class CompiledRuntime:
    """Converts parts and keeps them below `folder`; they compute in `precision`, "fp32", "bf16" or, once they are quantised, "int8"."""

    def __init__(self, folder: Path, precision: str) -> None:
        self._folder = folder
        self.precision = precision

    def part(
        self,
        role: str,
        tensors: Mapping[str, Tensor],
        trace: Callable[[], Traced],
        shapes: tuple[Shape, ...],
        tell: Callable[[str], None],
        *,
        by_row: bool = False,
    ) -> "CompiledPart":
        """The part with those weights, from disk or else from what `trace` builds of them. Raises what OpenVINO or the disk raise.

        `by_row`: batches are worked off row by row, which is as quick on a CPU and leaves one size less to compile for.
        """
        half = self.precision != "fp32" or all(tensor.element_size() <= 2 for tensor in tensors.values())
        key = sha256(
            f"{LAYOUT} {role} {half} {version('openvino')} {version('diffusers')} {fingerprint(tensors)}".encode()
        )
        folder = self._folder / f"{role}-{key.hexdigest()[:24]}"
        if not (folder / MODEL).is_file():
            tell(f"the {role} for this CPU (once)")
            self._convert(trace(), folder, half=half)
            give_back()
        (folder / MODEL).touch()
        return CompiledPart(folder / MODEL, shapes, precision=self.precision, by_row=by_row)

    def _convert(self, traced: Traced, folder: Path, *, half: bool) -> None:
        import openvino

        self._folder.mkdir(parents=True, exist_ok=True)
        model = convert(traced)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".", ignore_cleanup_errors=True) as making:
            openvino.save_model(model, Path(making, MODEL), compress_to_fp16=half)
            Path(making).rename(folder)
            Path(making).mkdir()  # for the manager to remove
        self._tidy(folder)

    def _tidy(self, latest: Path) -> None:
        """Let go of what was used longest ago while more than KEPT_BYTES are kept."""
        folders = sorted(self._folder.glob(f"*/{MODEL}"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in folders:
            total += sum(file.stat().st_size for file in path.parent.iterdir())
            if total > KEPT_BYTES and path.parent != latest:
                shutil.rmtree(path.parent, ignore_errors=True)


class CompiledPart:
    """A part as a function of tensors. It is compiled when it is first called, and again for another size and after `edit`."""

    def __init__(self, file: Path, shapes: tuple[Shape, ...], *, precision: str, by_row: bool) -> None:
        self._file = file
        self._shapes = shapes
        self._precision = precision
        self._by_row = by_row
        self.gave_up = False  # on quantising it: no second try in this process
        self._edits = Edits()
        self._variants: OrderedDict[tuple[Hashable, Hashable, bool], Variant] = OrderedDict()

    def __call__(self, *inputs: Tensor, residuals: Sequence[Tensor] = ()) -> tuple[Tensor, ...]:
        """Its outputs, float32. `residuals`: what is added to a U-Net's skips and, the last, to its middle; nothing if there are none."""
        inputs = (*inputs, *residuals)
        if not self._by_row or len(inputs[0]) == 1:
            return self._run(inputs)
        rows = [self._run([one[i : i + 1] for one in inputs]) for i in range(len(inputs[0]))]
        return tuple(torch.cat(outputs) for outputs in zip(*rows, strict=True))

    def edit(self, edits: Edits) -> None:
        """From now on compute with these; raises nothing before the next call, which raises InputError for what cannot be
        changed so."""
        self._edits = edits

    @property
    def rough(self) -> bool:
        """Does it compute in bfloat16 or less, on a CPU that multiplies such?"""
        return self._precision != "fp32" and torch.cpu._is_avx512_bf16_supported()

    @property
    def quantised(self) -> bool:
        """Does it compute in int8?"""
        return self._file == self._quantised_file

    @property
    def _quantised_file(self) -> Path:
        return self._file.parent.with_name(f"{self._file.parent.name.removesuffix(QUANTISED)}{QUANTISED}") / MODEL

    def use_quantised(self) -> bool:
        """Compute in int8 from now on, if that was made before; was it?"""
        if self._quantised_file.is_file():
            self._file = self._quantised_file
            self._variants.clear()
        return self.quantised

    def check_memory(self) -> None:
        """Raise RuntimeError, with both numbers, where memory is too short to quantise it."""
        need = QUANTISING * self._size
        if need > (have := free_memory(torch.device("cpu"))):
            raise RuntimeError(f"that needs {need / 2**30:.1f} GB of memory, {have / 2**30:.1f} GB are free")

    def quantise(self, samples: Sequence[Sequence[Tensor]]) -> None:
        """Compute in int8 from now on, with ranges taken from these inputs, each of one row; raises RuntimeError with what failed.

        In a process of its own, which needs memory for the model in float32 and gives it back.
        """
        self._variants.clear()
        with tempfile.TemporaryDirectory(dir=self._file.parents[1], prefix=".", ignore_cleanup_errors=True) as making:
            names: dict[str, Any] = {
                f"{i}_{j}": one.numpy() for i, row in enumerate(samples) for j, one in enumerate(row)
            }
            np.savez(Path(making, "samples.npz"), **names)
            out = Path(making, "out")
            out.mkdir()
            command = [
                sys.executable,
                "-m",
                "modules.devices.quantise",
                self._file,
                Path(making, "samples.npz"),
                out / MODEL,
            ]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise RuntimeError((done.stderr.strip().splitlines() or ["it was stopped"])[-1])
            out.rename(self._quantised_file.parent)
        self.use_quantised()

    def _run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self._compiled(inputs)(inputs, self._edits.additions)

    def _compiled(self, inputs: Sequence[Tensor]) -> "Variant":
        added = len(inputs) - len(self._shapes)
        sizes = tuple(
            tuple(n if axis == -1 else -1 if axis is None else axis for n, axis in zip(one.shape, shape, strict=True))
            for one, shape in zip(inputs, (*self._shapes, *[SKIP] * added), strict=True)
        )
        key = (sizes, self._edits.key, self._edits.additions is not None)
        if key not in self._variants:
            self._make_room()
            self._variants[key] = self._compile(sizes, added)
        self._variants.move_to_end(key)
        return self._variants[key]

    def _make_room(self) -> None:
        """Let go of variants with other edits than these, of those that were not used last, and of all where memory is short."""
        for key in [key for key in self._variants if key[1] not in (Edits().key, self._edits.key)]:
            del self._variants[key]
        while len(self._variants) >= VARIANTS:
            self._variants.popitem(last=False)
        need = WORKING * self._size * (2 if self._precision == "fp32" else 1)
        if self._variants and free_memory(torch.device("cpu")) < need:
            self._variants.clear()

    @property
    def _size(self) -> int:
        return sum(file.stat().st_size for file in self._file.parent.iterdir())

    def _compile(self, sizes: Sequence[Sequence[int]], added: int) -> "Variant":
        import openvino

        core = openvino.Core()
        model = core.read_model(self._file)
        if added:
            add_to_skips(model, added)
        try:
            slots = self._edits.make(model)
        except Exception as error:  # OpenVINO's converter has errors of its own for what it cannot convert
            raise _refusal(error) from error
        model.reshape({i: openvino.PartialShape(list(size)) for i, size in enumerate(sizes)})
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISIONS[self._precision]}
        made = Variant(core.compile_model(model, "CPU", hints).create_infer_request(), slots)
        del model
        give_back()  # what compiling took beside what it made, half a size of the part and more
        unmap_read(self._file.with_suffix(".bin"))
        return made


class Variant:
    """A part compiled for inputs of one size, with room for LoRAs or without."""

    def __init__(self, request: Any, slots: Slots | None) -> None:
        self._request = request
        self._slots = slots
        self._worn: Hashable = None
        self._held: list[Any] = []

    def __call__(self, inputs: Sequence[Tensor], additions: Additions | None) -> tuple[Tensor, ...]:
        """Its outputs, with what is added to its layers."""
        if self._slots and additions and self._worn != additions.key:
            try:
                self._held = self._slots.fill(self._request, additions)
            except LookupError as error:
                raise _refusal(error) from error
            self._worn = additions.key
        arrays = {i: one.contiguous().numpy() for i, one in enumerate(inputs)}
        results = self._request.infer(arrays, share_inputs=True, share_outputs=False)
        return tuple(torch.from_numpy(results[i]) for i in range(len(results)))


def _refusal(error: Exception) -> InputError:
    return InputError(
        "prompt",
        f"OpenVINO cannot compute with the networks in the prompt ({short(str(error))}). Leave them out, or start with "
        "--no-half, so that PyTorch computes.",
    )


SKIP: Shape = (1, -1, -1, -1)
WORKING = 3.0
"""Memory that one more variant takes, in sizes of the part on disk, so that as much is left for the work of a step."""

PRECISIONS = {"bf16": "bf16", "fp32": "f32", "int8": "bf16"}  # what is not quantised computes in bfloat16


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Tells weights apart by their names, shapes, types and SAMPLES values of each, so that a large file need not be read."""
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        flat = tensor.detach().reshape(-1)
        places = torch.linspace(0, max(len(flat) - 1, 0), SAMPLES, dtype=torch.float64).long()
        sample = flat[places].contiguous() if len(flat) else flat
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(sample.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def compiled_trouble() -> str | None:
    """Why OpenVINO cannot be used here; None when it can."""
    try:
        import openvino

        if "CPU" not in openvino.Core().available_devices:
            return "OpenVINO sees no CPU here that it knows."
    except Exception as error:  # a missing wheel, a library that does not load
        return f"OpenVINO cannot be loaded ({type(error).__name__})."
    return None
