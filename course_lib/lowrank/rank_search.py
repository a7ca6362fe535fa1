"""Rank search: a form for every layer under a budget of parameters or latency, with the least harm.

A *candidate* is one layer in one form, as it is or with a kind and ranks; a table of them has a row for each. Size is
counted, latency is measured on the runtime, harm on validation data; then ``choose`` picks a form for every layer.
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
from course_lib.core.greedy_budget import Option, meet_budget
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
    """One row for each layer as it is, and for each of its forms that is smaller.

    Columns: ``layer``, ``kind``, ``ranks`` (a tuple), ``parameters``.

    Args:
        shares: of the layer's parameters, in (0, 1); each gives ranks by ``ranks_for_size``.

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

    ``harm`` is the added loss, at least 0. The model is not changed.

    Raises:
        TestSplitError: if ``validation`` is the test split, because the result decides the ranks.
    """
    refuse_test(validation, "scanned for sensitivity (which decides the rank of each layer)")
    check_model(model)
    before = training.evaluate(model, validation, batch_size=batch_size)
    trial = copy.deepcopy(model)
    measured = []
    for row in tqdm(_rows(table), desc="sensitivity", disable=not progress, leave=False):
        after = before
        if row.kind != AS_IT_IS:
            layer = check_layer(model, row.layer)
            moment = (moments or {}).get(row.layer) if row.kind == "svd" else None
            trial.set_submodule(row.layer, factor_layer(layer, row.kind, row.ranks, moment))
            after = training.evaluate(trial, validation, batch_size=batch_size)
            trial.set_submodule(row.layer, copy.deepcopy(layer))
        measured.append((after.loss, after.accuracy, max(after.loss - before.loss, 0.0)))
    losses, accuracies, harms = zip(*measured, strict=True)
    return table.assign(loss=losses, accuracy=accuracies, harm=harms)


def layer_latencies(
    model: nn.Module, inputs: Inputs, table: pandas.DataFrame, *, threads: int = 2, runs: int = 15
) -> pandas.DataFrame:
    """``table`` with ``latency_ms``: the median time of this form of the layer alone, on ONNX Runtime.

    Layers of equal shapes are measured once; the forms of one layer are interleaved. A layer alone finds its weights in
    the caches, so within a model it may be slower.
    """
    check_model(model)
    layers = {name: check_layer(model, name) for name in dict.fromkeys(table["layer"])}
    with models.evaluating(model), torch.no_grad(), capture_inputs(model, layers) as layer_inputs:
        models.call(model, inputs)
    shapes = {name: tuple(given.shape) for name, given in layer_inputs.items()}
    keys = [f"{layers[row.layer]} {shapes[row.layer]} {row.kind} {row.ranks}" for row in _rows(table)]
    times: dict[str, float] = {}
    for name, rows in table.assign(key=keys).groupby("layer", sort=False):
        layer, given = layers[str(name)], layer_inputs[str(name)]
        new = [row for row in _rows(rows) if row.key not in times]
        runners = {row.key: profiling.onnx(_form(layer, row).eval(), given, threads) for row in new}
        times |= {key: timed.p50_ms for key, timed in profiling.interleave(runners, runs=runs).items()}
        for runner in runners.values():
            runner.close()
    return table.assign(latency_ms=[times[key] for key in keys])


def choose(table: pandas.DataFrame, budget: float, cost: str = "parameters") -> dict[str, Ranks]:
    """Layer → kind and ranks, so that all layers together cost at most ``budget`` with little harm.

    Layers that stay as they are have no entry. The choice is greedy, see ``core.greedy_budget.meet_budget``.

    Args:
        table: with ``harm`` (see ``sensitivity_scan``) and the column of ``cost``.
        budget: in the unit of ``cost``, for the layers of the table together.
        cost: ``"parameters"`` or ``"latency_ms"``.

    Raises:
        ValueError: if the budget cannot be met, with the least that can be reached.
    """
    check_choice("cost", cost, COSTS)
    check_positive("budget", budget)
    options: dict[str, dict[Ranks, Option]] = {}
    for row in table.to_dict("records"):
        options.setdefault(str(row["layer"]), {})[(row["kind"], *row["ranks"])] = Option(row[cost], row["harm"])
    chosen = meet_budget(options, dict.fromkeys(options, (AS_IT_IS,)), budget, cost)
    return {layer: form for layer, form in chosen.items() if form != (AS_IT_IS,)}


def _rows(table: pandas.DataFrame) -> list[Any]:
    return list(table.itertuples())


def _form(layer: nn.Module, row: Any) -> nn.Module:
    """The layer alone in one form; its weights do not matter for the latency."""
    return nn.Sequential(copy.deepcopy(layer) if row.kind == AS_IT_IS else factored(layer, row.kind, row.ranks))
