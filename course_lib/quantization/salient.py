"""The experiment behind AWQ: keep 1 % of the input columns in fp16, and compare ways to select them.

Columns are selected by the size of their inputs, by the size of their weights, or at random; all others are rounded to
nearest. The kept columns are stored in fp16 with the integers (``packed_columns``), so the file shows their cost.

Source: Lin et al., AWQ, 2023 (table 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.architectures.weighted_layers import copy_model
from course_lib.core.validation import check_choice, check_fraction
from course_lib.data import Split
from course_lib.quantization.weight_only import PackedWeights, WeightOnly, WeightScheme, round_to_nearest
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
    """A copy of ``model`` rounded to nearest, except for a fraction of the input columns of each matrix, kept in fp16.

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
    packed, batches = PackedWeights(WeightScheme(bits, group_size)), calibration_batches(calibration)
    packed.scheme.check(linear_layers(model))
    changed, generator = copy_model(model), torch.Generator().manual_seed(seed)

    def at_stage(stage: Stage, inputs: LayerInputs) -> None:
        for name, layer in stage.layers.items():
            matrix, weight = weight_matrix(layer), round_to_nearest(layer, packed.scheme)
            columns = salient_columns(matrix, inputs.mean_abs, by, fraction, generator)
            if len(columns):
                weight = storage.encode_columns(weight, kept=matrix[:, columns].half().float(), kept_index=columns)
            packed.add(name, weight, kept=len(columns))

    walk(changed, batches, at_stage)
    return packed.finish(changed, f"{fraction:.0%} fp16 by {by}", embedding_bits)


def salient_columns(matrix: Tensor, mean_abs: Tensor, by: str, fraction: float, generator: torch.Generator) -> Tensor:
    """Indices of the columns of ``matrix`` ``(out, in)`` to keep, ascending."""
    columns = matrix.shape[1]
    count = max(1, round(fraction * columns)) if fraction else 0
    scores = {
        "activation": mean_abs,
        "weight": matrix.norm(dim=0),
        "random": torch.rand(columns, generator=generator),
    }[by]
    return scores.topk(count).indices.sort().values
