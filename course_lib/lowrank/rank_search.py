"""Ranks under a budget: what each choice costs, what it harms, and the choice for every layer that harms least.

A *candidate* is one layer in one form, as it is or with a kind and ranks; a table of them has a row for each. Size is
counted, time is measured on the runtime, harm is measured on validation data; then ``choose`` spends the budget.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib import models, profiling, training
from course_lib.architectures.factorized import factored
from course_lib.core.validation import check_choice, check_positive
from course_lib.data import Split, refuse_test
from course_lib.lowrank.decompositions import factor_layer
from course_lib.lowrank.factorization import Ranks, check_layer, check_model, factorable
from course_lib.lowrank.ranks import factored_parameters, parameters, ranks_for_size
from course_lib.models.hooks import capture_inputs
from course_lib.profiling.counting import Inputs

if TYPE_CHECKING:
    import pandas

AS_IT_IS = "as it is"
COSTS = ("parameters", "latency_ms")


def candidates(
    model: nn.Module,
    shares: Sequence[float] = (0.1, 0.2, 0.35, 0.5),
    kinds: Sequence[str] = ("svd", "tucker"),
    layers: Collection[str] | None = None,
    *,
    multiple: int = 8,
) -> pandas.DataFrame:
    """One row for each layer as it is, and for each form of it that is smaller.

    Columns: ``layer``, ``kind``, ``ranks`` (a tuple), ``parameters``.

    Args:
        shares: of the layer's numbers, in (0, 1); each gives ranks by ``ranks_for_size``.

    Raises:
        ValueError: if an argument is out of range or a layer cannot be factored.
    """
    import pandas

    check_model(model)
    rows: list[tuple[Any, ...]] = []
    for name in layers or dict.fromkeys(name for kind in kinds for name in factorable(model, kind)):
        layer = check_layer(model, name)
        rows.append((name, AS_IT_IS, (), parameters(layer)))
        fitting = [kind for kind in kinds if name in factorable(model, kind)]
        forms = {(kind, ranks_for_size(layer, kind, share, multiple)): None for kind in fitting for share in shares}
        rows += [(name, kind, r, factored_parameters(layer, kind, r)) for kind, r in forms if r is not None]
    return pandas.DataFrame(rows, columns=["layer", "kind", "ranks", "parameters"])


@torch.no_grad()
def sensitivity_scan(
    model: nn.Module,
    validation: Split,
    table: pandas.DataFrame,
    moments: dict[str, Tensor] | None = None,
    *,
    batch_size: int = 256,
    progress: bool = True,
) -> pandas.DataFrame:
    """``table`` with ``loss`` and ``accuracy`` on ``validation`` when only this layer has this form, and ``harm``.

    ``harm`` is the loss that was added, at least 0. The model is left as it was.

    Raises:
        TestSplitError: if ``validation`` is the test split, because what is learnt here decides the ranks.
    """
    refuse_test(validation, "scanned for sensitivity (which decides the rank of each layer)")
    check_model(model)
    before = training.evaluate(model, validation, batch_size=batch_size)
    trial = copy.deepcopy(model)
    found = []
    for row in tqdm(_rows(table), desc="sensitivity", disable=not progress, leave=False):
        answers = before
        if row.kind != AS_IT_IS:
            layer = check_layer(model, row.layer)
            moment = (moments or {}).get(row.layer) if row.kind == "svd" else None
            trial.set_submodule(row.layer, factor_layer(layer, row.kind, row.ranks, moment))
            answers = training.evaluate(trial, validation, batch_size=batch_size)
            trial.set_submodule(row.layer, copy.deepcopy(layer))
        found.append((answers.loss, answers.accuracy, max(answers.loss - before.loss, 0.0)))
    losses, accuracies, harms = zip(*found, strict=True)
    return table.assign(loss=losses, accuracy=accuracies, harm=harms)


def layer_latencies(
    model: nn.Module, inputs: Inputs, table: pandas.DataFrame, *, threads: int = 2, runs: int = 15
) -> pandas.DataFrame:
    """``table`` with ``latency_ms``: the median time of this form of the layer alone, on ONNX Runtime.

    Layers of equal shapes are measured once; the forms of one layer take turns. A layer alone finds its weights in
    the caches, so within a model it may be slower than here.
    """
    check_model(model)
    seen = _layer_inputs(model, inputs, set(table["layer"]))
    times: dict[str, float] = {}
    for name, rows in table.groupby("layer", sort=False):
        layer, given = check_layer(model, str(name)), seen[str(name)]
        forms = {_shape_key(layer, given, row): _form(layer, row) for row in _rows(rows)}
        missing = {key: form for key, form in forms.items() if key not in times}
        runners = {key: profiling.onnx(form.eval(), given, threads) for key, form in missing.items()}
        times |= {key: taken.p50_ms for key, taken in profiling.interleave(runners, runs=runs).items()}
        for runner in runners.values():
            runner.close()
    layers = {name: check_layer(model, name) for name in seen}
    keys = [_shape_key(layers[row.layer], seen[row.layer], row) for row in _rows(table)]
    return table.assign(latency_ms=[times[key] for key in keys])


def choose(table: pandas.DataFrame, budget: float, cost: str = "parameters") -> dict[str, Ranks]:
    """The form of every layer, so that all layers together cost at most ``budget`` and little harm is done.

    Every layer begins as it is. Again and again the change that harms least for what it saves is made, until the
    budget is kept: the greedy walk along the convex hulls of all layers.

    Args:
        table: with ``harm`` (see ``sensitivity_scan``) and the column of ``cost``.
        budget: in the unit of ``cost``, for the layers of the table together.
        cost: ``"parameters"`` or ``"latency_ms"``.

    Raises:
        ValueError: if the budget cannot be kept, with the least that can be reached.
    """
    check_choice("cost", cost, COSTS)
    check_positive("budget", budget)
    forms = dict(iter(table.groupby("layer", sort=False)))
    chosen = {name: rows[rows["kind"] == AS_IT_IS].iloc[0] for name, rows in forms.items()}
    while (spent := sum(row[cost] for row in chosen.values())) > budget:
        steps = [step for name, rows in forms.items() if (step := _best_step(chosen[name], rows, cost)) is not None]
        if not steps:
            raise ValueError(f"budget must be at least {spent:,.4g} ({cost}) with these candidates, got {budget:,.4g}")
        _, row = min(steps, key=lambda step: step[0])
        chosen[row["layer"]] = row
    return {str(name): (row["kind"], *row["ranks"]) for name, row in chosen.items() if row["kind"] != AS_IT_IS}


def _rows(table: pandas.DataFrame) -> list[Any]:
    return list(table.itertuples())


def _best_step(now: Any, rows: pandas.DataFrame, cost: str) -> tuple[float, Any] | None:
    """The change of one layer with the least harm for what it saves."""
    cheaper = rows[rows[cost] < now[cost]]
    if cheaper.empty:
        return None
    slope = (cheaper["harm"] - now["harm"]).clip(lower=0) / (now[cost] - cheaper[cost])
    least = slope[slope == slope.min()].index
    best = cheaper.loc[least].sort_values(cost).iloc[0]
    return float(slope.min()), best


def _layer_inputs(model: nn.Module, inputs: Inputs, names: set[str]) -> dict[str, Tensor]:
    """What goes into each layer when the model runs once."""
    with models.evaluating(model), torch.no_grad(), capture_inputs(model, names) as seen:
        models.forward(model, inputs)
    return seen


def _form(layer: nn.Module, row: Any) -> nn.Module:
    """The layer alone in one form, with weights that do not matter for its time."""
    return nn.Sequential(copy.deepcopy(layer) if row.kind == AS_IT_IS else factored(layer, row.kind, row.ranks))


def _shape_key(layer: nn.Module, given: Tensor, row: Any) -> str:
    return f"{layer} {tuple(given.shape)} {row.kind} {row.ranks}"
