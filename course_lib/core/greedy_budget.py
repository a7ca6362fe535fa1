"""Choose one form for every layer under a budget, by greedy steps of least harm for each unit of cost saved."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

F = TypeVar("F", bound=Hashable)


class Option(NamedTuple):
    """One form of one layer: what it costs (bytes, parameters, milliseconds) and the harm that it does."""

    cost: float
    harm: float


def meet_budget(
    options: Mapping[str, Mapping[F, Option]], start: Mapping[str, F], budget: float, unit: str
) -> dict[str, F]:
    """Layer → form, so that all layers together cost at most ``budget`` and the sum of harms is small.

    Beginning at ``start``, the layer changes whose change to a cheaper form adds the least harm for each unit saved,
    until the budget is met: the greedy walk along the convex hulls of all layers.

    Raises:
        ValueError: if not even the cheapest forms meet the budget, with what they cost.
    """
    least = sum(min(option.cost for option in forms.values()) for forms in options.values())
    if least > budget:
        raise ValueError(f"budget must be at least {least:,.10g} {unit} (the cheapest everywhere), got {budget:,.10g}")
    chosen = dict(start)
    while total_cost(options, chosen) > budget:
        steps = [
            ((option.harm - now.harm) / (now.cost - option.cost), position, option.cost, layer, form)
            for position, (layer, forms) in enumerate(options.items())
            for form, option in forms.items()
            if option.cost < (now := forms[chosen[layer]]).cost
        ]
        *_, layer, form = min(steps, key=lambda step: step[:3])
        chosen[layer] = form
    return chosen


def spend_remainder(options: Mapping[str, Mapping[F, Option]], chosen: Mapping[str, F], budget: float) -> dict[str, F]:
    """``chosen`` after spending the rest of the budget: the last step may have saved more than was needed.

    The layer whose harm an affordable change lowers most changes first.
    """
    chosen = dict(chosen)
    while True:
        rest = budget - total_cost(options, chosen)
        steps = [
            (option.harm - now.harm, layer, form)
            for layer, forms in options.items()
            for form, option in forms.items()
            if 0 < option.cost - (now := forms[chosen[layer]]).cost <= rest and option.harm < now.harm
        ]
        if not steps:
            return chosen
        _, layer, form = min(steps, key=lambda step: step[0])
        chosen[layer] = form


def total_cost(options: Mapping[str, Mapping[F, Option]], chosen: Mapping[str, F]) -> float:
    """Cost of all layers in their chosen forms."""
    return sum(options[layer][form].cost for layer, form in chosen.items())
