"""Graphs of a forward pass, traced with torch.fx, and which modules in them can be changed alone."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from torch import fx, nn

CONSTANTS = (bool, int, float, str, type(None))


def forward_graphs(model: nn.Module, make_tracer: Callable[[], fx.Tracer] = fx.Tracer) -> list[fx.Graph]:
    """The graphs of the forward pass of ``model``: with its optional inputs left out, and with all of them given.

    A branch such as ``if mask is not None`` makes them differ, and the caller of the model decides which of them runs;
    so a change of the model must be right in both. One that cannot be traced is left out. Flags and numbers have their
    defaults.

    Raises:
        ValueError: if there is none, or ``model.forward`` was replaced by a function, which torch.fx would not trace.
    """
    if "forward" in vars(model):
        raise ValueError(
            f"the forward of this {type(model).__name__} was replaced by a function, which torch.fx does not trace; "
            "define a subclass with this forward instead"
        )
    defaults = _optional_arguments(model)
    given = {name: value for name, value in defaults.items() if value is not None}
    graphs, reasons = [], []
    for arguments in [given] if given == defaults else [defaults, given]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.fx cannot check that a string has its default
                graphs.append(make_tracer().trace(model, concrete_args=arguments or None))
        except Exception as error:  # a forward pass may raise anything when it is called with proxies
            reasons.append((str(error).splitlines() or [type(error).__name__])[0])
    if not graphs:
        raise ValueError(f"{type(model).__name__} cannot be traced by torch.fx ({reasons[0]})")
    return graphs


def _optional_arguments(model: nn.Module) -> dict[str, Any]:
    """Name → default of the arguments of the forward pass that may be left out."""
    parameters = inspect.signature(type(model).forward).parameters.values()
    return {it.name: it.default for it in parameters if isinstance(it.default, CONSTANTS)}


def used_once(model: nn.Module, graph: fx.Graph) -> set[str]:
    """Names of the modules that ``graph`` calls once, and whose parameters nothing else uses."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = [str(node.target) for node in graph.nodes if node.op == "get_attr"]
    layers = dict(model.named_modules())
    holders = Counter(id(value) for module in layers.values() for value in module._parameters.values())
    return {
        name
        for name, count in calls.items()
        if count == 1
        and all(holders[id(value)] == 1 for value in layers[name].parameters(recurse=False))
        and not any(target.startswith(f"{name}.") for target in read)
    }


def changes_values(module: nn.Module, hooks: Collection[str] = ("_forward_pre_hooks", "_forward_hooks")) -> bool:
    """Whether a module computes something else than its class: with hooks of these kinds, or a forward of its own."""
    return "forward" in vars(module) or any(getattr(module, kind) for kind in hooks)


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put ``new`` in place of the module ``name``, in place, under all names that this module has."""
    old = model.get_submodule(name)
    for alias, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            model.set_submodule(alias, new)
