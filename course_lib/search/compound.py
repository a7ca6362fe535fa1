"""Compound scaling: depth, width and resolution of a net grow together.

Source: Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from course_lib.core.validation import check_positive

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15
"""Found by the authors with a grid search on B0, for depth, width and resolution."""

BASE_RESOLUTION = 224
DIVISOR = 8


@dataclass(frozen=True)
class Stage:
    """Equal blocks of an EfficientNet.

    Args:
        expansion: factor by which the first 1×1 convolution of a block widens its input.
        kernel: of the depthwise convolution.
        channels: output channels.
        layers: number of blocks.
    """

    expansion: int
    kernel: int
    channels: int
    layers: int


B0 = (
    Stage(1, 3, 16, 1), Stage(6, 3, 24, 2), Stage(6, 5, 40, 2), Stage(6, 3, 80, 3),
    Stage(6, 5, 112, 3), Stage(6, 5, 192, 4), Stage(6, 3, 320, 1),
)  # fmt: skip
B0_STEM, B0_HEAD = 32, 1280


@dataclass(frozen=True)
class Scaling:
    """Factors by which depth and width grow, and the resolution in pixels."""

    depth: float
    width: float
    resolution: int


PUBLISHED = {
    "b0": Scaling(1.0, 1.0, 224), "b1": Scaling(1.1, 1.0, 240), "b2": Scaling(1.2, 1.1, 260),
    "b3": Scaling(1.4, 1.2, 300), "b4": Scaling(1.8, 1.4, 380), "b5": Scaling(2.2, 1.6, 456),
    "b6": Scaling(2.6, 1.8, 528), "b7": Scaling(3.1, 2.0, 600),
}  # fmt: skip
"""The coefficients of the authors' code; they are rounded, and larger than their formula gives for B7."""

PHI = {"b0": 0.0, "b1": 0.5, "b2": 1.0, "b3": 2.0, "b4": 3.0, "b5": 4.0, "b6": 5.0, "b7": 6.0}
"""The compound coefficients of the authors' code."""


def compound_scaling(phi: float, alpha: float = ALPHA, beta: float = BETA, gamma: float = GAMMA) -> Scaling:
    """Depth ``α^φ``, width ``β^φ`` and resolution ``γ^φ`` (times 224 pixels) for the compound coefficient ``φ``.

    Raises:
        ValueError: if a base is below 1.
    """
    for name, value in {"alpha": alpha, "beta": beta, "gamma": gamma}.items():
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return Scaling(alpha**phi, beta**phi, round(BASE_RESOLUTION * gamma**phi))


def work_factor(alpha: float = ALPHA, beta: float = BETA, gamma: float = GAMMA) -> float:
    """By how much the work grows when φ grows by one: ``α · β² · γ²``.

    A convolution costs in proportion to depth, to input times output channels, and to height times width.
    """
    return alpha * beta**2 * gamma**2


def candidate_bases(
    target: float = 2.0, tolerance: float = 0.1, step: float = 0.05
) -> Iterator[tuple[float, float, float]]:
    """All ``(α, β, γ)`` on a grid from 1 upwards with ``|α · β² · γ² - target| ≤ tolerance``: the FLOPS constraint.

    Raises:
        ValueError: if ``step`` is not positive or ``target`` is below 1.
    """
    check_positive("step", step)
    if target < 1:
        raise ValueError(f"target must be at least 1, got {target}")
    counts = range(int((target + tolerance - 1) / step) + 2)
    grid = [round(1 + count * step, 10) for count in counts]
    for alpha in grid:
        for beta in grid:
            for gamma in grid:
                if abs(work_factor(alpha, beta, gamma) - target) <= tolerance + 1e-12:
                    yield alpha, beta, gamma


def scaled_channels(channels: int, width: float, divisor: int = DIVISOR) -> int:
    """``width · channels``, rounded to a multiple of ``divisor`` that is not more than 10 % smaller."""
    check_positive("width", width)
    wanted = channels * width
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded


def scaled_layers(layers: int, depth: float) -> int:
    """``depth · layers``, rounded up."""
    check_positive("depth", depth)
    return math.ceil(layers * depth)


def scaled_stages(scaling: Scaling, stages: tuple[Stage, ...] = B0) -> tuple[Stage, ...]:
    """The stages of a larger EfficientNet."""
    return tuple(
        Stage(
            stage.expansion, stage.kernel, scaled_channels(stage.channels, scaling.width),
            scaled_layers(stage.layers, scaling.depth),
        )
        for stage in stages
    )  # fmt: skip
