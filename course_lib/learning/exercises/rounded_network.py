"""The small network of exercise 05.5: the LeNet-300-100 of exercise 03.6, rounded without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from course_lib import models, quantization, training
from course_lib.learning.exercises import small_network
from course_lib.quantization import Scheme

TARGET_BITS = 2.95
TARGET_ACCURACY = 0.82


@dataclass(frozen=True)
class Measured:
    """What a choice of bits gives: mean bits per weight (scales not counted), and validation accuracy."""

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
    """Round the weights of each layer to its own number of bits, one scale per channel, and measure.

    Args:
        bits: 2 to 8 for each of the three layers, first layer first.

    Raises:
        ValueError: if there are not three of them, or one is out of range.
    """
    return _measured(tuple(bits))


@cache
def _measured(bits: tuple[int, ...]) -> Measured:
    network = small_network.lenet()
    layers = models.prunable_layers(network)
    if len(bits) != len(layers):
        raise ValueError(f"bits must have one entry per layer, {len(layers)} in all, got {len(bits)}")
    schemes = {name: Scheme(some) for name, some in zip(layers, bits, strict=True)}
    rounded = quantization.quantize_weights(network, overrides=schemes)
    accuracy = training.evaluate(rounded, small_network.split("validation")).accuracy
    sizes = small_network.layer_sizes()
    mean = sum(some * size for some, size in zip(bits, sizes, strict=True)) / sum(sizes)
    return Measured(mean, accuracy, small_network._accuracy_before())
