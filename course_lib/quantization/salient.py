"""The experiment that led to AWQ: keep one in a hundred input columns as fp16, and see which hundredth matters.

The columns are chosen by how large their inputs are, by how large their weights are, or at random; all others are
rounded to nearest. The kept columns are stored in fp16 beside the integers (``packed_columns``), so the file shows what
the mixture costs.

Source: Lin et al., AWQ, 2023 (table 1).
"""

from __future__ import annotations

import copy
import time

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.core.validation import check_choice, check_fraction
from course_lib.data import Split
from course_lib.quantization.affine import quantize_tensor
from course_lib.quantization.packing import pack
from course_lib.quantization.weight_only import WeightOnly, WeightScheme, finish, layer_row, to_layer
from course_lib.storage import Encoded
from course_lib.training.input_statistics import LayerInputs
from course_lib.training.sequential_calibration import Stage, calibration_batches, linear_layers, walk, weight_matrix

WAYS = ("activation", "weight", "random")


def keep_salient(
    model: nn.Module,
    calibration: Split,
    bits: int = 3,
    *,
    by: str = "activation",
    fraction: float = 0.01,
    group_size: int | None = 64,
    seed: int = 0,
    embedding_bits: int | None = 8,
) -> WeightOnly:
    """A copy of ``model`` rounded to nearest, but for a fraction of each matrix's input columns, which stay fp16.

    Args:
        calibration: train or validation.
        by: ``"activation"`` (largest mean ``|x|``), ``"weight"`` (largest norm of the column) or ``"random"``.
        fraction: of the columns, in [0, 1); at least one column is kept unless it is 0.
        seed: for ``"random"``.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, or there is no linear layer or no example.
    """
    check_choice("by", by, WAYS)
    check_fraction("fraction", fraction)
    started, scheme = time.perf_counter(), WeightScheme(bits, group_size)
    batches = calibration_batches(calibration)
    scheme.check(linear_layers(model))
    changed, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    weights: dict[str, Encoded] = {}
    rows = []

    def at_stage(stage: Stage, inputs: LayerInputs) -> None:
        for name, layer in stage.layers.items():
            matrix = weight_matrix(layer)
            columns = salient_columns(matrix, inputs.mean_abs, by, fraction, generator)
            packed = pack(to_layer(quantize_tensor(matrix, scheme.params(matrix)), layer))
            kept = matrix[:, columns].half().float()
            encoded = storage.encode_columns(packed, kept=kept, kept_index=columns) if len(columns) else packed
            weights[f"{name}.weight"] = encoded
            rows.append(layer_row(name, scheme, encoded, kept=len(columns)))

    walk(changed, batches, at_stage)
    finish(changed, weights, scheme, embedding_bits)
    return WeightOnly(changed, f"{fraction:.0%} fp16 by {by}", scheme, tuple(rows), time.perf_counter() - started)


def salient_columns(matrix: Tensor, mean_abs: Tensor, by: str, fraction: float, generator: torch.Generator) -> Tensor:
    """Numbers of the columns of ``matrix`` ``(out, in)`` to keep, ascending."""
    columns = matrix.shape[1]
    count = max(1, round(fraction * columns)) if fraction else 0
    scores = {
        "activation": mean_abs,
        "weight": matrix.norm(dim=0),
        "random": torch.rand(columns, generator=generator),
    }[by]
    return scores.topk(count).indices.sort().values
