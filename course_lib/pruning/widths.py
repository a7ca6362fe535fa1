"""Widths: how many channels of each group stay, by a ratio, a budget of MACs, or one threshold for all groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from course_lib import profiling
from course_lib.core.validation import check_choice, check_fraction, check_positive
from course_lib.profiling.counting import Inputs
from course_lib.pruning.coupling import Coupling, Group, couple
from course_lib.pruning.importance import Scores

Counts = dict[str, int]
Shape = Callable[[Group, float], float]


def keep_count(channels: int, ratio: float, multiple: int = 1) -> int:
    """``ratio`` of ``channels``, rounded to a ``multiple`` (8 or 16 suit the kernels); at most all of them.

    Raises:
        ValueError: if the ratio is outside [0, 1], or 0 channels would be left.
    """
    check_fraction("ratio", ratio, below_one=False)
    check_positive("multiple", multiple)
    count = _rounded(ratio * channels, channels, multiple)
    if count == 0:
        raise ValueError(f"ratio {ratio} with multiple {multiple} would leave 0 of {channels} channels; take more")
    return count


def uniform_counts(groups: Mapping[str, Group], ratio: float, multiple: int = 1) -> Counts:
    """The same ``ratio`` of every group's channels."""
    return {name: keep_count(group.channels, ratio, multiple) for name, group in groups.items()}


def global_counts(groups: Mapping[str, Group], scores: Scores, ratio: float, *, floor: float = 0.1) -> Counts:
    """As many channels as are above one threshold over the scores of all groups; at least ``floor`` of each group.

    Raises:
        ValueError: if a ratio is outside [0, 1], or 0 channels would be left.
    """
    check_fraction("ratio", ratio, below_one=False)
    check_fraction("floor", floor, below_one=False)
    together = torch.cat([scores[name] for name in groups])
    stay = keep_count(len(together), ratio)
    threshold = together.sort(descending=True).values[stay - 1]
    return {
        name: max(int((scores[name] >= threshold).sum()), keep_count(group.channels, floor) if floor else 1)
        for name, group in groups.items()
    }


def keep_best(scores: Scores, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Group → sorted indices of its ``counts`` most important channels; ties fall to the lower index.

    Raises:
        ValueError: if a count is not between 1 and the number of channels, or a group is unknown.
    """
    kept = {}
    for name, count in counts.items():
        channels = scores[check_choice("group", name, scores)]
        if not 1 <= count <= len(channels):
            raise ValueError(f"counts[{name!r}] must lie between 1 and {len(channels)}, got {count}")
        kept[name] = channels.sort(descending=True, stable=True).indices[:count].sort().values
    return kept


class WorkEstimate:
    """Multiply-accumulates (MACs) of a model for any channel counts, from one profile of the whole model.

    The MACs of a layer are proportional to the remaining shares of its inputs and of its outputs, those of attention to
    the share of its heads.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, coupling: Coupling | None = None) -> None:
        coupling = couple(model) if coupling is None else coupling
        table = profiling.layers(model, inputs, timed=False)
        self.work = {str(name): int(macs) for name, macs in zip(table["name"], table["macs"], strict=True) if macs}
        self.sides: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self.channels = {name: group.channels for name, group in coupling.items()}
        for name, group in coupling.items():
            for member in group.members:
                key = (member.layer, member.side)
                self.sides.setdefault(key, []).append((name, member.map.repeat * group.channels))
            if group.unit == "head":
                self.sides[(name, "out")] = [(name, group.channels)]

    @property
    def total(self) -> int:
        """MACs of the whole model."""
        return sum(self.work.values())

    def __call__(self, counts: Mapping[str, int]) -> float:
        """MACs if ``counts`` channels of the groups stay; groups that are not named stay whole."""
        return sum(
            macs * self._share((layer, "in"), counts) * self._share((layer, "out"), counts)
            for layer, macs in self.work.items()
        )

    def _share(self, side: tuple[str, str], counts: Mapping[str, int]) -> float:
        parts = self.sides.get(side, [])
        if not parts:
            return 1.0
        left = sum(width * counts.get(name, self.channels[name]) / self.channels[name] for name, width in parts)
        return left / sum(width for _, width in parts)


def counts_for_macs(
    work: WorkEstimate, groups: Mapping[str, Group], factor: float, *, multiple: int = 1, shape: Shape | None = None
) -> Counts:
    """The widest counts with at most ``1 / factor`` of the MACs of the whole model (bisection over one ratio).

    Args:
        groups: those that may lose channels.
        shape: ``(group, ratio) -> ratio`` of this group, not falling with ``ratio``; the same for all by default.

    Raises:
        ValueError: if ``factor`` is below 1, or the narrowest counts still have more MACs.
    """
    if factor < 1:
        raise ValueError(f"factor must be at least 1 (how many times less work), got {factor}")
    low, high, best = 0.0, 1.0, None
    for _ in range(24):
        middle = (low + high) / 2
        counts = _shaped(groups, middle, multiple, shape)
        if work(counts) <= work.total / factor:
            low, best = middle, counts
        else:
            high = middle
    if best is None:
        reached = work.total / work(_shaped(groups, 0.0, multiple, shape))
        raise ValueError(f"factor must be at most {reached:.3g} with {', '.join(groups)}, got {factor}")
    return best


def _shaped(groups: Mapping[str, Group], ratio: float, multiple: int, shape: Shape | None) -> Counts:
    """Counts at ``ratio``: at least one ``multiple``, or all channels where there are fewer."""
    counts = {}
    for name, group in groups.items():
        share = min(1.0, max(0.0, shape(group, ratio) if shape else ratio))
        least = min(multiple, group.channels)
        counts[name] = max(least, _rounded(share * group.channels, group.channels, multiple))
    return counts


def _rounded(count: float, most: int, multiple: int) -> int:
    return min(most, multiple * math.floor(count / multiple + 0.5))


def groups_within(groups: Mapping[str, Group], prefixes: Collection[str]) -> dict[str, Group]:
    """The groups whose names start with one of ``prefixes``."""
    return {name: group for name, group in groups.items() if name.startswith(tuple(prefixes))}
