"""Makes an OpenVINO model compute in int8: `python -m modules.devices.quantise MODEL.xml SAMPLES.npz OUT.xml`, a process of its own.

Weights by channel and activations by tensor (nncf's post-training quantisation); ranges come from samples of the model's inputs, named
"i_j" for input j of sample i.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

LEFT = (
    r".*(conv_in|conv_out|time_embedding|time_emb_proj).*",  # little work, and all that the network sees and says
    r".*(conv_shortcut|downsamplers|upsamplers).*",
    r".*(to_out|ff\.net\.2|proj_out).*",  # their inputs have outliers
)
"""Layers of U-Nets that stay in bfloat16. On the starter's U-Net the mean error of a call falls from 0.076 to 0.018 by it."""


def quantise(model: Path, samples: Sequence[Sequence[Any]], out: Path) -> None:
    """Writes the quantised model."""
    os.environ["NNCF_CI"] = "1"  # or nncf tells its makers over the internet
    import nncf
    import nncf.quantization.range_estimator
    import openvino

    ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    whole = openvino.Core().read_model(model)
    made = nncf.quantize(
        whole,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(patterns=list(LEFT), validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges),
    )
    openvino.save_model(made, out, compress_to_fp16=True)


def main() -> None:
    """The command line."""
    model, kept, out = map(Path, sys.argv[1:])
    with np.load(kept) as arrays:
        number = 1 + max(int(name.split("_")[0]) for name in arrays)
        inputs = 1 + max(int(name.split("_")[1]) for name in arrays)
        samples = [[arrays[f"{i}_{j}"] for j in range(inputs)] for i in range(number)]
    quantise(model, samples, out)


if __name__ == "__main__":
    main()
