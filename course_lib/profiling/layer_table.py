"""Where parameters, work and time go: one row per layer, and its place under the roofline."""

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
class _Visit:
    """What one module did itself, without the modules inside it."""

    macs: int = 0
    bytes: int = 0
    seconds: list[float] = field(default_factory=list)


def layers(model: nn.Module, inputs: Inputs, *, timed: bool = True) -> pandas.DataFrame:
    """One row for each layer that computes or holds parameters, in the order of the model.

    Columns: ``name``; ``kind``; ``parameters`` (a shared tensor counts at its first layer); ``macs`` of this batch;
    ``weight_bytes``; ``activation_bytes`` read and written; ``latency_ms`` (median of a few eager runs) and its
    ``share`` of the whole pass; ``intensity`` in FLOP per byte (a MAC is two FLOP); ``bound``, the roof that limits
    the layer (``"memory"`` or ``"compute"``); ``achieved_gflops``.

    Attention has no module of its own: its two matrix products are a row of kind ``attention`` under the name of the
    module that computes them. The last row is what happens between layers (additions, reshapes, Python), so that the
    shares sum to 1.

    Args:
        inputs: a batch as the model takes it.
        timed: without timing, the last four columns are empty apart from ``intensity``.
    """
    visits: dict[str, _Visit] = defaultdict(_Visit)
    with models.evaluating(model), torch.inference_mode():
        with mac_counter() as counter:
            for name, macs, moved in _trace(model, inputs, lambda: counter.get_total_flops() // 2, _tensor_bytes):
                visits[name].macs += macs
                visits[name].bytes += moved
        if timed:
            _time(model, inputs, visits)
    roofs = _roofs(visits) if timed else None
    chosen = list(_chosen(model, visits))
    rows = [_row(name, module, visits, own, roofs) for name, module, own in chosen]
    import pandas

    if timed:
        rows.append(_rest(visits, {name for name, _, _ in chosen}))
    frame = pandas.DataFrame(rows, columns=list(COLUMNS))
    frame["share"] = frame["latency_ms"] / frame["latency_ms"].sum() if timed else float("nan")
    return frame


def _roofs(visits: Mapping[str, _Visit]) -> Roofline:
    """The limits of this machine; if a layer was faster than them, they date from a busy moment: measured again."""
    fastest = max((2 * one.macs / statistics.median(one.seconds) for one in visits.values() if one.macs), default=0.0)
    known = roofline()
    return roofline(refresh=True) if fastest / 1e9 > known.peak_gflops else known


def _time(model: nn.Module, inputs: Inputs, visits: Mapping[str, _Visit]) -> None:
    for run in range(TIMED_RUNS + 1):
        seconds: dict[str, float] = defaultdict(float)
        for name, spent, _ in _trace(model, inputs, time.perf_counter, lambda _: 0):
            seconds[name] += spent
        for name, spent in seconds.items() if run else ():  # the first run only warms up
            visits[name].seconds.append(spent)


def _trace(
    model: nn.Module, inputs: Inputs, meter: Callable[[], Any], size: Callable[[Any], int]
) -> list[tuple[str, Any, int]]:
    """For each call of a module: its name, what ``meter`` grew by outside its children, and the bytes it moved.

    A module that calls others reads what they gave (attention reads queries, keys and values), not its own input.
    """
    calls: list[tuple[str, Any, int]] = []
    open_calls: list[list[Any]] = []  # start, grown in children, bytes that came out of children

    def before(*_: Any) -> None:
        open_calls.append([meter(), 0, 0])

    def after(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: Any, keywords: Any, output: Any) -> None:
            end = meter()
            start, in_children, from_children = open_calls.pop()
            calls.append((name, end - start - in_children, (from_children or size((given, keywords))) + size(output)))
            if open_calls:
                open_calls[-1][1] += end - start
                open_calls[-1][2] += size(output)

        return hook

    names = [name for name, _ in model.named_modules()]
    hooks = {name: after(name) for name in names}
    with forward_pre_hooks(model, dict.fromkeys(names, before)), forward_hooks(model, hooks, with_kwargs=True):
        models.forward(model, inputs)
    return calls


def _chosen(model: nn.Module, visits: Mapping[str, _Visit]) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    """Modules that deserve a row, each with the parameters that no earlier row has."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in own}
        leaf = name in visits and next(module.children(), None) is None
        if own or leaf or (name in visits and visits[name].macs):
            yield name, module, own


def _row(
    name: str, module: nn.Module, visits: Mapping[str, _Visit], own: list[nn.Parameter], roofs: Roofline | None
) -> dict[str, Any]:
    visit = visits[name] if name in visits else _Visit()
    weight_bytes = sum(parameter.numel() * parameter.element_size() for parameter in own)
    moved = weight_bytes + visit.bytes
    intensity = 2 * visit.macs / moved if moved else 0.0
    seconds = statistics.median(visit.seconds) if visit.seconds else float("nan")
    has_children = next(module.children(), None) is not None
    return {
        "name": name or type(module).__name__,
        "kind": "attention" if has_children and visit.macs and not own else type(module).__name__,
        "parameters": sum(parameter.numel() for parameter in own),
        "macs": visit.macs,
        "weight_bytes": weight_bytes,
        "activation_bytes": visit.bytes,
        "latency_ms": seconds * 1000,
        "intensity": intensity,
        "bound": roofs.bound(intensity) if roofs else "",
        "achieved_gflops": 2 * visit.macs / seconds / 1e9 if visit.seconds else float("nan"),
    }


def _rest(visits: Mapping[str, _Visit], shown: set[str]) -> dict[str, Any]:
    seconds = sum(statistics.median(visit.seconds) for name, visit in visits.items() if name not in shown)
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
