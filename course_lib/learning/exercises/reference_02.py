"""What the checks of exercise 02 compare with: reference formulas, cases, and a machine that only pretends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import nn

Layer = dict[str, Any]


class PretendMachine:
    """A clock that only moves when one of its pretended models runs, by times that are known beforehand."""

    def __init__(self, milliseconds: dict[str, list[float]]) -> None:
        self.seconds, self.order, self.left = 5.0, list[str](), {name: list(run) for name, run in milliseconds.items()}
        self.runners = {name: self._runner(name) for name in milliseconds}

    def clock(self) -> float:
        """Seconds since some moment in the past."""
        return self.seconds

    def _runner(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.order.append(name)
            # a model that is run more often than announced keeps its last speed
            self.seconds += (self.left[name].pop(0) if len(self.left[name]) > 1 else self.left[name][0]) / 1000

        return run


def conv_macs(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
    size: tuple[int, int],
    batch_size: int,
) -> int:
    """Multiply-accumulates, with the number of outputs taken from PyTorch's own shape rule."""
    with torch.device("meta"):
        layer = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups)
        outputs = layer(torch.empty(batch_size, in_channels, *size)).numel()
    return outputs * layer.weight[0].numel()


def attainable(
    macs: int, weight_bytes: int, activation_bytes: int, batch_size: int, peak_gflops: float, bandwidth_gbs: float
) -> tuple[float, float, str]:
    """FLOP per byte, GFLOP/s within reach, and what bounds them (Williams et al., Roofline, 2009)."""
    intensity = 2 * macs * batch_size / (weight_bytes + batch_size * activation_bytes)
    bound = "memory" if intensity < peak_gflops / bandwidth_gbs else "compute"
    return intensity, min(peak_gflops, intensity * bandwidth_gbs), bound


def summaries(times: dict[str, list[float]], warmup: int) -> dict[str, tuple[float, float]]:
    """Median and 95th percentile of each model's times after the warm-up."""
    return {name: tuple(numpy.percentile(run[warmup:], [50, 95]).tolist()) for name, run in times.items()}


def whole_speedup(latencies_ms: list[float], layer: int, factor: float) -> tuple[float, float]:
    """Speed-up of the whole model and its limit (Amdahl, 1967)."""
    total, rest = sum(latencies_ms), sum(latencies_ms[:layer] + latencies_ms[layer + 1 :])
    return total / (rest + latencies_ms[layer] / factor), total / rest if rest else math.inf


def total_latency(layers: list[Layer], chosen: list[str]) -> float:
    """Milliseconds of the model when the chosen layers are compressed."""
    return sum(one["latency_ms"] / (one["factor"] if one["name"] in chosen else 1) for one in layers)


def total_damage(layers: list[Layer], chosen: list[str]) -> float:
    """Accuracy points that are lost when the chosen layers are compressed."""
    return sum(one["damage"] for one in layers if one["name"] in chosen)


def choose_layers(layers: list[Layer], budget_ms: float) -> list[str] | None:
    """The subset of least damage that meets the budget, or None."""
    names = [one["name"] for one in layers]
    subsets = (list(some) for size in range(len(names) + 1) for some in itertools.combinations(names, size))
    fitting = [some for some in subsets if total_latency(layers, some) <= budget_ms]
    return min(fitting, key=lambda some: total_damage(layers, some), default=None)


def convolutions() -> list[tuple[Any, ...]]:
    """in_channels, out_channels, kernel_size, groups, bias."""
    return [
        (3, 64, (7, 7), 1, False), (16, 32, (3, 3), 1, True), (1, 1, (1, 1), 1, True), (5, 7, (1, 3), 1, True),
        (512, 10, (1, 1), 1, True), (32, 32, (3, 3), 32, True), (12, 24, (3, 5), 4, False), (8, 16, (3, 3), 8, True),
    ]  # fmt: skip


def mac_cases() -> list[tuple[Any, ...]]:
    """Arguments of ``conv_macs``."""
    one, two, none = (1, 1), (2, 2), (0, 0)
    return [
        (3, 8, (3, 3), one, none, 1, (8, 8), 1), (3, 8, (3, 3), one, one, 1, (8, 8), 1),
        (1, 1, one, one, none, 1, one, 1),
        (3, 64, (7, 7), two, (3, 3), 1, (56, 56), 1), (4, 6, (3, 3), two, none, 1, (9, 9), 1),
        (4, 6, (3, 5), (2, 1), (1, 0), 1, (10, 17), 1), (16, 16, (3, 3), one, one, 16, (7, 7), 1),
        (8, 12, (3, 3), two, one, 4, (11, 6), 3), (512, 10, one, one, none, 1, one, 32),
        (2, 4, (5, 5), one, none, 1, (5, 5), 2),
    ]  # fmt: skip


def roofline_cases() -> list[tuple[Any, ...]]:
    """Arguments of ``attainable``."""
    return [
        (10**6, 4 * 10**6, 8000, 1, 100.0, 20.0), (10**6, 4 * 10**6, 8000, 64, 100.0, 20.0),
        (10**9, 4 * 10**5, 10**6, 1, 100.0, 20.0), (10**9, 4 * 10**5, 10**6, 8, 100.0, 20.0),
        (0, 46 * 10**6, 3072, 1, 100.0, 20.0), (1024, 1024, 1024, 1, 64.0, 64.0), (2048, 1024, 1024, 3, 50.0, 20.0),
    ]  # fmt: skip


def speedup_cases() -> list[tuple[list[float], int, float]]:
    """Arguments of ``whole_speedup``."""
    return [
        ([4.0, 4.0, 2.0], 0, 2.0), ([4.0, 4.0, 2.0], 2, 10.0), ([5.0], 0, 8.0), ([1.0, 0.0], 1, 4.0),
        ([3.0, 7.0, 0.5, 1.5], 1, 1.0), ([3.0, 7.0, 0.5, 1.5], 1, 0.5), ([2.5, 2.5], 1, 1e6),
    ]  # fmt: skip


def layer_tables(generator: torch.Generator) -> dict[str, tuple[list[Layer], float]]:
    """Tables on which greedy choices fail, and random ones with budgets from loose to out of reach."""
    trap = [("small", 2.0, 2.0, 0.2), ("middle", 4.0, 2.0, 0.6), ("large", 8.0, 2.0, 1.0)]
    names = ("name", "latency_ms", "factor", "damage")
    greedy = [dict(zip(names, row, strict=True)) for row in trap]
    tables = {"one large layer": (greedy, 10.5), "already quick enough": (greedy, 14.0), "out of reach": (greedy, 6.5)}
    for count, part in [(1, 0.99), (5, 0.8), (9, 0.6), (10, 0.7)]:
        latency, factor, damage = torch.rand(3, count, generator=generator)
        rows = zip((0.5 + 9 * latency).tolist(), (1.5 + 6 * factor).tolist(), (0.05 + damage).tolist(), strict=True)
        table = [{"name": f"layer{index}", **dict(zip(names[1:], row, strict=True))} for index, row in enumerate(rows)]
        tables[f"{count} layers"] = (table, part * sum(one["latency_ms"] for one in table))
    latency = (1 + torch.arange(7) + torch.rand(7, generator=generator)).tolist()
    harmful = [(f"layer{index}", one, 2.0, 0.05 * one**2) for index, one in enumerate(latency)]
    several = [dict(zip(names, row, strict=True)) for row in harmful]
    tables["large layers do the most damage"] = (several, 0.8 * sum(latency))
    return tables | {"nothing": ([], 1.0)}
