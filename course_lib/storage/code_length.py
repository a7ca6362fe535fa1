"""The ideal code length of the adaptive arithmetic coder, without coding anything."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from course_lib.storage.level_coding import LevelModel
from course_lib.storage.range_coding import LengthCounter


def code_length(levels: Sequence[Tensor]) -> float:
    """Bits that the integer levels of a list of tensors take, coded in this order: the sum of -log2(probability).

    The probabilities are those of the adaptive model of ``save(..., coder="arithmetic")``; the tables that it learns
    on a tensor serve for the next.

    Args:
        levels: tensors of integers of any shape, outputs first (rows), then inputs, then kernel positions.
    """
    counter, model = LengthCounter(), LevelModel()
    for one in levels:
        model.code(counter, tuple(one.shape), one.detach().cpu().numpy())
    return counter.bits
