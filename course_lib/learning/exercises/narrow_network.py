"""LeNet-300-100 with fewer neurons, for exercise 04.6: removed by their L2 norm, without fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from course_lib import pruning, training
from course_lib.learning.exercises.small_network import lenet, split

TARGET_WORK = 0.40
TARGET_ACCURACY = 0.83
NEURONS = (300, 100)
INPUTS, CLASSES = 784, 10


@dataclass(frozen=True)
class Narrowed:
    """What a choice of widths gives: the share of the multiply-accumulates that is left, and validation accuracy."""

    work: float
    accuracy: float
    accuracy_before: float

    def __str__(self) -> str:
        return (
            f"{self.work:.1%} of the multiply-accumulates are left, {self.accuracy:.1%} of the validation images are "
            f"right (before pruning {self.accuracy_before:.1%})"
        )

    __repr__ = __str__


def work(first: int, second: int) -> int:
    """Multiply-accumulates of the network with these numbers of neurons."""
    return INPUTS * first + first * second + second * CLASSES


def try_widths(widths: Sequence[int]) -> Narrowed:
    """Keep the most important neurons of each hidden layer and measure; the network itself stays whole.

    Args:
        widths: how many neurons stay, first hidden layer first.

    Raises:
        ValueError: if there are not two whole numbers, or one is out of range.
    """
    if len(widths) != len(NEURONS) or not all(type(count) is int for count in widths):
        raise ValueError(f"widths must be two whole numbers, such as (150, 50); got {widths!r}")
    for count, limit in zip(widths, NEURONS, strict=True):
        if not 1 <= count <= limit:
            raise ValueError(f"widths must lie between 1 and {NEURONS}; got {tuple(widths)}")
    return _measured(tuple(widths))


@cache
def _measured(widths: tuple[int, int]) -> Narrowed:
    coupling = pruning.couple(lenet())
    counts = dict(zip(coupling.prunable(), widths, strict=True))
    narrow = pruning.prune_channels(lenet(), counts, criterion="l2", coupling=coupling).model
    accuracy = training.evaluate(narrow, split("validation")).accuracy
    return Narrowed(work(*widths) / work(*NEURONS), accuracy, _accuracy_before())


@cache
def _accuracy_before() -> float:
    return training.evaluate(lenet(), split("validation")).accuracy
