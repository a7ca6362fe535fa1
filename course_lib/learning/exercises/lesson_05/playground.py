"""LeNet-300-100 with quantized weights, without training (exercise 05.5)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from course_lib import training
from course_lib.core.validation import check_choice
from course_lib.learning.exercises.lesson_03.playground import (
    accuracy_before,
    layer_sizes,
    lenet,
    linear_layers,
    split,
)

TARGET_BITS = 2.95
TARGET_ACCURACY = 0.82


@dataclass(frozen=True)
class Measured:
    """Mean bits per weight (scales not counted), and validation accuracy before and after quantization."""

    bits: float
    accuracy: float
    accuracy_before: float

    def __str__(self) -> str:
        return (
            f"{self.bits:.2f} bits per weight on average, {self.accuracy:.1%} of the validation images are right "
            f"(before rounding {self.accuracy_before:.1%})"
        )

    __repr__ = __str__


def try_bits(bits: Sequence[int]) -> Measured:
    """Quantize the weights of a copy, with one number of bits per layer and one scale per channel, and measure it.

    Args:
        bits: 2 to 8 for each of the three layers, first layer first.

    Raises:
        ValueError: if there are not three of them, or one is out of range.
    """
    return _measured(tuple(bits))


@cache
def _measured(bits: tuple[int, ...]) -> Measured:
    quantized = copy.deepcopy(lenet())
    layers = linear_layers(quantized)
    if len(bits) != len(layers):
        raise ValueError(f"bits must have one entry per layer, {len(layers)} in all, got {len(bits)}")
    for layer, some in zip(layers, bits, strict=True):
        weight, largest = layer.weight.detach(), 2 ** (check_choice("bits", some, range(2, 9)) - 1) - 1
        scale = weight.abs().amax(dim=1, keepdim=True) / largest
        weight.copy_((weight / scale).round().clamp(-largest, largest) * scale)
    accuracy = training.evaluate(quantized, split("validation")).accuracy
    sizes = layer_sizes()
    mean = sum(some * size for some, size in zip(bits, sizes, strict=True)) / sum(sizes)
    return Measured(mean, accuracy, accuracy_before())
