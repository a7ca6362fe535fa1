"""Structured pruning end to end: score channels, choose how many stay, remove the others, at once or in steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from course_lib.core.validation import check_choice, check_positive
from course_lib.data import Split
from course_lib.pruning.channel_removal import remove_channels
from course_lib.pruning.coupling import Coupling, couple
from course_lib.pruning.importance import DEFAULT_CRITERION, channel_importance
from course_lib.pruning.widths import Counts, keep_best, uniform_counts

if TYPE_CHECKING:
    import pandas

Tune = Callable[[nn.Module], object]


@dataclass(frozen=True)
class StructuredResult:
    """A smaller copy of a model, and the channels that it kept.

    Args:
        model: plain modules with fewer channels.
        coupling: the groups of the original model.
        kept: group → indices of the remaining channels in the original model.
    """

    model: nn.Module
    coupling: Coupling = field(repr=False)
    kept: Mapping[str, Tensor] = field(repr=False)

    @property
    def report(self) -> pandas.DataFrame:
        """One row per group: group, unit, channels, kept, removed (a fraction)."""
        import pandas

        rows = []
        for name, group in self.coupling.items():
            left = len(self.kept[name]) if name in self.kept else group.channels
            rows.append((name, group.unit, group.channels, left, 1 - left / group.channels))
        return pandas.DataFrame(rows, columns=["group", "unit", "channels", "kept", "removed"])


def prune_channels(
    model: nn.Module,
    ratio: float | Mapping[str, int],
    *,
    criterion: str = DEFAULT_CRITERION,
    unit: str | None = None,
    multiple: int = 1,
    split: Split | None = None,
    coupling: Coupling | None = None,
    seed: int = 0,
) -> StructuredResult:
    """Remove the least important channels of ``model``, all at once.

    Args:
        ratio: fraction of every group's channels that stays, or group → how many stay.
        criterion: see ``importance.CRITERIA``.
        unit: ``"filter"``, ``"neuron"``, ``"head"`` or ``"width"``; all but the last one by default.
        multiple: counts are rounded to it.
        split: for criteria that use gradients.

    Raises:
        CouplingError: if the model is not understood.
        TestSplitError: if ``split`` is the test split.
        ValueError: if 0 channels would be left, or the model cannot be pruned (see ``check_prunable``).
    """
    coupling = couple(model) if coupling is None else coupling
    counts = dict(ratio) if isinstance(ratio, Mapping) else uniform_counts(coupling.prunable(unit), ratio, multiple)
    if not counts:
        raise ValueError(_nothing_to_remove(model, coupling, unit))
    for name in counts:
        check_choice("group", name, coupling)
    scores = channel_importance(model, criterion, split=split, coupling=coupling, seed=seed)
    kept = keep_best(scores, counts)
    return StructuredResult(remove_channels(model, kept, coupling), coupling, kept)


def _nothing_to_remove(model: nn.Module, coupling: Coupling, unit: str | None) -> str:
    """Why no group of ``model`` may lose channels."""
    kind = f"of unit {unit!r} " if unit else ""
    reasons = "; ".join(dict.fromkeys(group.kept_whole for group in coupling.values() if group.kept_whole))
    return f"model {type(model).__name__} has no group {kind}that may lose channels ({reasons or 'it has no layer'})"


def step_counts(coupling: Coupling, counts: Mapping[str, int], step: int, steps: int) -> Counts:
    """How many channels stay after ``step`` of ``steps``: every step removes the same *fraction*.

    n_t = n₀ (n_T / n₀)^(t / T), so that late steps remove fewer channels.
    """
    return {
        name: max(count, round(coupling[name].channels * (count / coupling[name].channels) ** (step / steps)))
        for name, count in counts.items()
    }


def prune_iteratively(
    model: nn.Module,
    counts: Mapping[str, int],
    tune: Tune,
    *,
    steps: int = 3,
    criterion: str = DEFAULT_CRITERION,
    split: Split | None = None,
    seed: int = 0,
) -> StructuredResult:
    """Remove channels in ``steps``, each followed by ``tune(model)``, which trains the smaller model in place.

    The importance is recomputed before each step.

    Args:
        counts: group → how many channels stay in the end.

    Raises:
        As ``prune_channels``, and ``ValueError`` if ``steps`` is not positive.

    Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, 2017.
    """
    check_positive("steps", steps)
    first = couple(model)
    kept: dict[str, Tensor] = {}
    for step in range(1, steps + 1):
        now = step_counts(first, counts, step, steps)
        result = prune_channels(model, now, criterion=criterion, split=split, seed=seed)
        kept = {name: kept[name][stay] if name in kept else stay for name, stay in result.kept.items()}
        model = result.model
        tune(model)
        model.eval()
    return StructuredResult(model, first, kept)
