"""Nodes: the operations of a model, traced with torch.fx and classified into the few kinds that coupling needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from course_lib.architectures.tracing import changes_values, forward_graphs
from course_lib.pruning.coupling.operations import BERT_LEAVES, OPAQUE, Kind, layer_kind, operation_kind

POINTER = "for other architectures use the Torch-Pruning library, https://github.com/VainF/Torch-Pruning"


class CouplingError(ValueError):
    """A model, or a part of it, is not understood; the message names it."""


@dataclass(frozen=True)
class Node:
    """One operation of a model.

    Args:
        name: of the layer, or of the operation in the graph.
        kind: ``input``, ``output``, ``parameter``, a layer (``conv``, ``depthwise``, ``grouped``, ``linear``, ``norm``,
            ``layernorm``, ``embeddings``, ``attention``), or an operation (see ``operations``); ``opaque`` if unknown.
        inputs: keys of the nodes whose outputs it takes, in order, wherever they stand in its arguments.
        key: unique within the graph.
        detail: what else the kind needs, for example the dimension of a concatenation.
    """

    key: str
    name: str
    kind: str
    inputs: tuple[str, ...]
    detail: Any = None


def traces(model: nn.Module) -> list[list[Node]]:
    """The nodes of ``model`` in the order in which they run, for each graph of ``forward_graphs``.

    Raises:
        CouplingError: if the model cannot be traced, or a layer with parameters is not used.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    found = [[_node(step, modules) for step in graph.nodes] for graph in _graphs(model)]
    _check_all_used(model, {node.name for nodes in found for node in nodes})
    return found


def is_bert(model: nn.Module) -> bool:
    """Whether ``model`` is BERT with a classification head, as transformers has it."""
    kind = type(model)
    return kind.__module__.startswith("transformers.") and kind.__name__ == "BertForSequenceClassification"


def _graphs(model: nn.Module) -> list[fx.Graph]:
    if isinstance(model, fx.GraphModule):
        return [model.graph]
    if hasattr(model, "_orig_mod"):
        raise CouplingError(f"{type(model).__name__} is compiled; prune model._orig_mod, then compile the result")
    try:
        return forward_graphs(_BertForward(model) if is_bert(model) else model, _Tracer)
    except ValueError as error:
        raise CouplingError(f"{error}; {POINTER}") from error


class _Tracer(fx.Tracer):
    """Layers of torch are nodes; so are two parts of BERT, whose insides are known."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__name__ in BERT_LEAVES or super().is_leaf_module(m, module_qualified_name)


class _BertForward(nn.Module):
    """The forward pass of BERT without the code that builds masks and caches."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.bert, self.dropout, self.classifier = model.bert, model.dropout, model.classifier

    def forward(self, input_ids: Any) -> Any:
        hidden = self.bert.embeddings(input_ids)
        for layer in self.bert.encoder.layer:
            hidden = layer.attention.output(layer.attention.self(hidden), hidden)
            hidden = layer.output(layer.intermediate(hidden), hidden)
        pooler = self.bert.pooler
        return self.classifier(self.dropout(pooler.activation(pooler.dense(hidden))))


def _node(step: fx.Node, modules: Mapping[str, nn.Module]) -> Node:
    inputs = tuple(value.name for value in _inputs((step.args, step.kwargs)))
    target = str(step.target)
    if step.op in ("placeholder", "output"):
        return Node(step.name, step.name, {"placeholder": "input", "output": "output"}[step.op], inputs)
    if step.op == "get_attr":
        return Node(step.name, target, "parameter", inputs)
    if step.op == "call_module":
        kind, detail = _module_kind(step, modules[target], len(inputs))
        return Node(step.name, target, kind, inputs, detail)
    kind, detail = operation_kind(step, len(inputs))
    name = target if isinstance(step.target, str) else step.target.__name__
    return Node(step.name, name, kind, inputs, detail)


def _module_kind(step: fx.Node, module: nn.Module, inputs: int) -> Kind:
    """Kind of a layer; one with more arguments than its input, or with hooks and no parameters, may do anything.

    Hooks of layers with parameters are a reason to protect them, see ``protected_layers``.
    """
    changed = changes_values(module) and next(module.parameters(), None) is None
    return layer_kind(module) if inputs == 1 and len(step.args) + len(step.kwargs) == 1 and not changed else OPAQUE


def _inputs(value: Any) -> Iterator[fx.Node]:
    """The nodes within nested arguments, in order; one that stands there twice is yielded twice."""
    if isinstance(value, fx.Node):
        yield value
    elif isinstance(value, slice):
        yield from _inputs((value.start, value.stop, value.step))
    elif isinstance(value, list | tuple | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _inputs(one)


def _check_all_used(model: nn.Module, used: set[str]) -> None:
    """Refuse a model with layers that its forward pass does not reach: the trace does not show what they would read.

    Args:
        used: names of the layers and parameters that it reaches.
    """
    for name, module in model.named_modules():
        own = [f"{name}.{label}".lstrip(".") for label, _ in module.named_parameters(recurse=False)]
        parts = name.split(".")
        prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)} - {""}
        if own and used.isdisjoint(prefixes) and used.isdisjoint(own):
            kind = type(module).__name__
            raise CouplingError(
                f"the layer {name!r} of kind {kind} is not used; remove it from the model, or {POINTER}"
            )
