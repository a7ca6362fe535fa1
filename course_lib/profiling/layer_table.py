"""A table of parameters, work, time and arithmetic intensity, one row per layer."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.models.hooks import forward_hooks, forward_pre_hooks
from course_lib.profiling.counting import Inputs, mac_counter
from course_lib.profiling.roofline import Roofline, roofline

if TYPE_CHECKING:
    import pandas

TIMED_RUNS = 7
REST = "(between layers)"
COLUMNS = (
    "name", "kind", "parameters", "macs", "weight_bytes", "activation_bytes", "latency_ms", "share", "intensity",
    "bound", "achieved_gflops",
)  # fmt: skip


@dataclass
class _LayerCost:
    """Cost of one module without the modules inside it: MACs, activation bytes, seconds of each run."""

    macs: int = 0
    bytes: int = 0
    seconds: list[float] = field(default_factory=list)


def layers(model: nn.Module, inputs: Inputs, *, timed: bool = True) -> pandas.DataFrame:
    """One row for each layer that computes or holds parameters, in the order of the model.

    Columns: ``name``; ``kind``; ``parameters`` (a shared tensor counts at its first layer); ``macs`` of this batch;
    ``weight_bytes``; ``activation_bytes`` read and written; ``latency_ms`` (median of a few eager runs) and its
    ``share`` of the whole pass; ``intensity`` in FLOP per byte (a MAC is two FLOP); ``bound``, the roof that limits
    the layer (``"memory"`` or ``"compute"``); ``achieved_gflops``.

    The two matrix products of attention, which have no module of their own, are a row of kind ``attention`` under the
    name of the module that computes them. The last row is the time between layers (additions, reshapes, Python), so
    that the shares sum to 1.

    Args:
        inputs: a batch of the model.
        timed: without timing, ``latency_ms``, ``share``, ``bound`` and ``achieved_gflops`` are empty.
    """
    import pandas

    costs: dict[str, _LayerCost] = defaultdict(_LayerCost)
    with models.evaluating(model):
        with torch.no_grad(), mac_counter(model) as counter:
            for name, macs, moved in _trace(model, inputs, lambda: counter.get_total_flops() // 2, _tensor_bytes):
                costs[name].macs += macs
                costs[name].bytes += moved
        if timed:
            with torch.inference_mode():
                _time(model, inputs, costs)
    roof = _roofline(costs) if timed else None
    chosen = list(_rows_of(model, costs))
    rows = [_row(name, module, costs, own, roof) for name, module, own in chosen]
    if timed:
        rows.append(_rest(costs, {name for name, _, _ in chosen}))
    frame = pandas.DataFrame(rows, columns=list(COLUMNS))
    frame["share"] = frame["latency_ms"] / frame["latency_ms"].sum() if timed else float("nan")
    return frame


def _roofline(costs: Mapping[str, _LayerCost]) -> Roofline:
    """The roofline of this machine; measured again if a layer was faster than the known peak."""
    fastest = max(
        (2 * cost.macs / statistics.median(cost.seconds) for cost in costs.values() if cost.macs), default=0.0
    )
    known = roofline()
    return roofline(refresh=True) if fastest / 1e9 > known.peak_gflops else known


def _time(model: nn.Module, inputs: Inputs, costs: Mapping[str, _LayerCost]) -> None:
    for run in range(TIMED_RUNS + 1):
        seconds: dict[str, float] = defaultdict(float)
        for name, spent, _ in _trace(model, inputs, time.perf_counter, lambda _: 0):
            seconds[name] += spent
        for name, spent in seconds.items() if run else ():  # the first run only warms up
            costs[name].seconds.append(spent)


def _trace(
    model: nn.Module, inputs: Inputs, meter: Callable[[], Any], size: Callable[[Any], int]
) -> list[tuple[str, Any, int]]:
    """For each call of a module: its name, the increase of ``meter`` outside its children, and the bytes it moved.

    A module with children reads their outputs (attention reads queries, keys and values) instead of its own input.
    """
    calls: list[tuple[str, Any, int]] = []
    open_calls: list[list[Any]] = []  # start, increase in children, bytes of their outputs

    def before(*_: Any) -> None:
        open_calls.append([meter(), 0, 0])

    def after(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            end = meter()
            start, in_children, from_children = open_calls.pop()
            calls.append((name, end - start - in_children, (from_children or size((args, kwargs))) + size(output)))
            if open_calls:
                open_calls[-1][1] += end - start
                open_calls[-1][2] += size(output)

        return hook

    names = [name for name, _ in model.named_modules()]
    hooks = {name: after(name) for name in names}
    with forward_pre_hooks(model, dict.fromkeys(names, before)), forward_hooks(model, hooks, with_kwargs=True):
        models.call(model, inputs)
    return calls


def _rows_of(model: nn.Module, costs: Mapping[str, _LayerCost]) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    """Modules that compute or hold parameters, each with the parameters that no earlier module has."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in own}
        leaf = name in costs and next(module.children(), None) is None
        if own or leaf or (name in costs and costs[name].macs):
            yield name, module, own


def _row(
    name: str, module: nn.Module, costs: Mapping[str, _LayerCost], own: list[nn.Parameter], roof: Roofline | None
) -> dict[str, Any]:
    cost = costs[name] if name in costs else _LayerCost()
    weight_bytes = sum(parameter.numel() * parameter.element_size() for parameter in own)
    moved = weight_bytes + cost.bytes
    intensity = 2 * cost.macs / moved if moved else 0.0
    seconds = statistics.median(cost.seconds) if cost.seconds else float("nan")
    has_children = next(module.children(), None) is not None
    return {
        "name": name or type(module).__name__,
        "kind": "attention" if has_children and cost.macs and not own else type(module).__name__,
        "parameters": sum(parameter.numel() for parameter in own),
        "macs": cost.macs,
        "weight_bytes": weight_bytes,
        "activation_bytes": cost.bytes,
        "latency_ms": seconds * 1000,
        "intensity": intensity,
        "bound": roof.bound(intensity) if roof else "",
        "achieved_gflops": 2 * cost.macs / seconds / 1e9 if cost.seconds else float("nan"),
    }


def _rest(costs: Mapping[str, _LayerCost], shown: set[str]) -> dict[str, Any]:
    seconds = sum(statistics.median(cost.seconds) for name, cost in costs.items() if name not in shown)
    counts = dict.fromkeys(("parameters", "macs", "weight_bytes", "activation_bytes"), 0)
    return {
        "name": REST, "kind": "other", **counts, "latency_ms": seconds * 1000, "intensity": 0.0, "bound": "memory",
        "achieved_gflops": 0.0,
    }  # fmt: skip


def _tensor_bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(_tensor_bytes(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_tensor_bytes(item) for item in value)
    return 0
