"""Measure every plan of exercise 08.6: one layer of the tiny Llama, quantized by each method, width and group size.

The exercise shows these numbers instead of computing them, so that its sandbox needs no package that quantizes.

    python benchmarks/exercise_plans.py
    python benchmarks/exercise_plans.py --quick    # one method, nothing is written but --json
"""

from __future__ import annotations

import json
from functools import cache
from itertools import product

import common
import torch
from torch import Tensor

from course_lib import models, quantization
from course_lib.core.atomic_write import write_atomically
from course_lib.data import text_windows
from course_lib.learning.exercises.lesson_08.playground import GROUP_SIZES, METHODS, PLANS, Measured
from course_lib.models.hooks import capture_inputs
from course_lib.quantization import LayerInputs, WeightScheme

LAYER = "model.layers.1.mlp.down_proj"
BITS = (2, 3, 4)
WINDOWS = 48


def main() -> None:
    """Write the table of the exercise."""
    arguments = common.parser(__doc__, "one method, the table stays as it is").parse_args()
    rows = []
    for method, bits, group_size in product(METHODS[:1] if arguments.quick else METHODS, BITS, GROUP_SIZES):
        found = measure(method, bits, group_size)
        rows.append({"method": method, "bits": bits, "group_size": group_size,
                     "bits_per_weight": found.bits_per_weight, "error": float(f"{found.error:.4g}")})  # fmt: skip
        print(method, bits, group_size, found, flush=True)
    if arguments.json:
        common.write(arguments.json, {"plans": rows})
    if not arguments.quick:
        write_atomically(PLANS, json.dumps(rows, indent=0) + "\n")


def measure(method: str, bits: int, group_size: int | None) -> Measured:
    """Quantize the layer and measure it: scales from inputs of train, the error on inputs of validation."""
    matrix, calibration, held_out = _layer()
    scheme, scales = WeightScheme(bits, group_size), torch.ones(matrix.shape[1])
    if method == "rtn":
        quantized = quantization.quantize_tensor(matrix, scheme.params(matrix))
    elif method == "gptq":
        params = quantization.clipped_params(matrix, scheme, calibration.hessian)
        quantized = quantization.gptq_matrix(matrix, calibration.hessian, params)
    else:
        scales = quantization.search_scales(matrix, calibration, scheme).scales
        quantized = quantization.quantize_scaled(matrix, scales, calibration, scheme)
    error = held_out.output_error(quantized.values() / scales - matrix) / held_out.output_error(matrix)
    extra = 2 * len(scales) if method == "awq" else 0
    return Measured(8 * (quantization.pack(quantized).bytes + extra) / matrix.numel(), error)


@cache
def _layer() -> tuple[Tensor, LayerInputs, LayerInputs]:
    """The matrix, and the statistics of its inputs on windows of train (calibration) and of validation (held out)."""
    model, splits = models.load("tiny_llama"), text_windows.load()
    layer = model.get_submodule(LAYER)
    found = []
    for split in (splits.train, splits.validation):
        inputs = LayerInputs.empty(layer.in_features)
        with torch.no_grad(), capture_inputs(model, [LAYER]) as captured:
            models.forward(model, {"input_ids": split.subset(WINDOWS).inputs["input_ids"]})
        inputs.add(captured[LAYER].flatten(0, -2))
        found.append(inputs)
    return layer.weight.detach(), found[0], found[1]


if __name__ == "__main__":
    main()
