"""Inputs of exercise 02: layers, models on a simulated clock, and tables to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Layer = dict[str, Any]


class SimulatedMachine:
    """A clock that only advances when one of its models runs, by times given in milliseconds."""

    def __init__(self, milliseconds: dict[str, list[float]]) -> None:
        self.seconds, self.order, self.left = 5.0, list[str](), {name: list(run) for name, run in milliseconds.items()}
        self.readings = 0
        self.runners = {name: self._runner(name) for name in milliseconds}

    def clock(self) -> float:
        """The time in seconds."""
        self.readings += 1
        return self.seconds

    def _runner(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.order.append(name)
            # further runs take as long as the last one
            self.seconds += (self.left[name].pop(0) if len(self.left[name]) > 1 else self.left[name][0]) / 1000

        return run


CONVOLUTIONS: list[tuple[Any, ...]] = [
    (3, 64, (7, 7), 1, False), (16, 32, (3, 3), 1, True), (1, 1, (1, 1), 1, True), (5, 7, (1, 3), 1, True),
    (512, 10, (1, 1), 1, True), (32, 32, (3, 3), 32, True), (12, 24, (3, 5), 4, False), (8, 16, (3, 3), 8, True),
]  # fmt: skip
"""in_channels, out_channels, kernel_size, groups, bias."""
_ONE, _TWO, _NONE = (1, 1), (2, 2), (0, 0)
MAC_CASES: list[tuple[Any, ...]] = [
    (3, 8, (3, 3), _ONE, _NONE, 1, (8, 8), 1), (3, 8, (3, 3), _ONE, _ONE, 1, (8, 8), 1),
    (1, 1, _ONE, _ONE, _NONE, 1, _ONE, 1),
    (3, 64, (7, 7), _TWO, (3, 3), 1, (56, 56), 1), (4, 6, (3, 3), _TWO, _NONE, 1, (9, 9), 1),
    (4, 6, (3, 5), (2, 1), (1, 0), 1, (10, 17), 1), (16, 16, (3, 3), _ONE, _ONE, 16, (7, 7), 1),
    (8, 12, (3, 3), _TWO, _ONE, 4, (11, 6), 3), (512, 10, _ONE, _ONE, _NONE, 1, _ONE, 32),
    (2, 4, (5, 5), _ONE, _NONE, 1, (5, 5), 2),
]  # fmt: skip
"""Arguments of ``conv_macs``."""
ROOFLINE_CASES: list[tuple[Any, ...]] = [
    (1000, 4000, 1000, 1, 100.0, 20.0),
    (10**6, 4 * 10**6, 8000, 1, 100.0, 20.0), (10**6, 4 * 10**6, 8000, 64, 100.0, 20.0),
    (10**9, 4 * 10**5, 10**6, 1, 100.0, 20.0), (10**9, 4 * 10**5, 10**6, 8, 100.0, 20.0),
    (0, 46 * 10**6, 3072, 1, 100.0, 20.0), (1024, 1024, 1024, 1, 64.0, 64.0), (2048, 1024, 1024, 3, 50.0, 20.0),
]  # fmt: skip
"""Arguments of ``attainable``."""
SPEEDUP_CASES: list[tuple[list[float], int, float]] = [
    ([6.0, 3.0, 1.0], 0, 3.0),
    ([4.0, 4.0, 2.0], 0, 2.0), ([4.0, 4.0, 2.0], 2, 10.0), ([5.0], 0, 8.0), ([1.0, 0.0], 1, 4.0),
    ([3.0, 7.0, 0.5, 1.5], 1, 1.0), ([3.0, 7.0, 0.5, 1.5], 1, 0.5), ([2.5, 2.5], 1, 1e6),
]  # fmt: skip
"""Arguments of ``whole_speedup``."""


def layer_tables(generator: torch.Generator) -> dict[str, tuple[list[Layer], float]]:
    """Tables on which greedy choices fail, and random ones with budgets from loose to out of reach."""
    trap = [("small", 2.0, 2.0, 0.2), ("middle", 4.0, 2.0, 0.6), ("large", 8.0, 2.0, 1.0)]
    names = ("name", "latency_ms", "factor", "damage")
    greedy = [dict(zip(names, row, strict=True)) for row in trap]
    budgets = {"one large layer": 10.5, "already quick enough": 15.0, "exactly quick enough": 14.0, "out of reach": 6.5}
    tables = {label: (greedy, budget) for label, budget in budgets.items()}
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
