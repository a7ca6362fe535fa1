"""Nodes: the steps of a model, traced with torch.fx and sorted into the few kinds that coupling must know.

Whatever is not known here is refused by name, because a wrong guess would give a model that runs and is wrong.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from course_lib.architectures.layer_sizes import NORMS, depthwise

POINTER = "for other architectures use the Torch-Pruning library, https://github.com/VainF/Torch-Pruning"

# Each channel of the output depends on the same channel of the input and on no other.
CHANNEL_BY_CHANNEL = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh, nn.Sigmoid,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
SAME_FUNCTIONS = {
    F.relu, F.relu6, F.hardtanh, F.leaky_relu, F.gelu, F.silu, F.hardswish, F.dropout, F.max_pool2d, F.avg_pool2d,
    F.adaptive_avg_pool2d, torch.relu, torch.tanh, torch.sigmoid, "relu", "tanh", "sigmoid", "contiguous",
}  # fmt: skip
JOINS = {operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul, "add", "add_", "mul", "mul_"}
FLATTENS = {torch.flatten, "flatten"}
CONCATENATIONS = {torch.cat, torch.concat}
BERT_LEAVES = ("BertEmbeddings", "BertSelfAttention")


class CouplingError(ValueError):
    """A model, or a part of it, is not understood; the message names it."""


@dataclass(frozen=True)
class Node:
    """One step of a model.

    Args:
        name: of the layer, or of the operation in the graph.
        kind: ``input``, ``output``, ``conv``, ``depthwise``, ``grouped``, ``linear``, ``norm``, ``layernorm``,
            ``embeddings``, ``attention``, ``same``, ``join``, ``flatten`` or ``cat``.
        inputs: names of the steps that it takes channels from.
        key: unique within the graph.
    """

    key: str
    name: str
    kind: str
    inputs: tuple[str, ...]


def trace(model: nn.Module) -> list[Node]:
    """The steps of ``model`` in the order in which they run.

    Raises:
        CouplingError: if the model cannot be traced, or has a step, layer or parameter that is not understood.
    """
    nodes = [_node(step, dict(model.named_modules())) for step in _graph(model).nodes]
    _check_layers(model, nodes)
    return nodes


def is_bert(model: nn.Module) -> bool:
    """Whether ``model`` is BERT with a classification head, as transformers has it."""
    kind = type(model)
    return kind.__module__.startswith("transformers.") and kind.__name__ == "BertForSequenceClassification"


def _graph(model: nn.Module) -> fx.Graph:
    if isinstance(model, fx.GraphModule):
        return model.graph
    root = _BertFlow(model) if is_bert(model) else model
    try:
        return _Tracer().trace(root)
    except Exception as error:  # whatever a forward may raise when it is called without numbers
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CouplingError(f"{type(model).__name__} cannot be traced by torch.fx ({reason}); {POINTER}") from error


class _Tracer(fx.Tracer):
    """Layers of torch are steps; so are two parts of BERT, whose insides are known."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__name__ in BERT_LEAVES or super().is_leaf_module(m, module_qualified_name)


class _BertFlow(nn.Module):
    """How values flow through BERT, without the code around it that builds masks and caches."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.bert, self.dropout, self.classifier = model.bert, model.dropout, model.classifier

    def forward(self, input_ids: Any) -> Any:
        stream = self.bert.embeddings(input_ids)
        for layer in self.bert.encoder.layer:
            stream = layer.attention.output(layer.attention.self(stream), stream)
            stream = layer.output(layer.intermediate(stream), stream)
        pooler = self.bert.pooler
        return self.classifier(self.dropout(pooler.activation(pooler.dense(stream))))


def _node(step: fx.Node, modules: dict[str, nn.Module]) -> Node:
    inputs = tuple(value.name for value in _sources(step))
    if step.op in ("placeholder", "output"):
        return Node(step.name, step.name, {"placeholder": "input", "output": "output"}[step.op], inputs)
    if step.op == "call_module":
        name = str(step.target)
        return Node(step.name, name, _layer_kind(name, modules[name]), inputs)
    if step.op == "get_attr":
        raise CouplingError(f"the parameter {step.target!r} is used outside of a layer; {POINTER}")
    kind = _operation_kind(step)
    if kind is None:
        name = step.target if isinstance(step.target, str) else step.target.__name__
        raise CouplingError(f"the operation {name!r} (step {step.name!r}) is not understood; {POINTER}")
    return Node(step.name, step.name, kind, inputs)


def _sources(step: fx.Node) -> Iterator[fx.Node]:
    """The values that a step takes, in order; those of a list (as for ``torch.cat``) too."""
    for value in step.args:
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, fx.Node):
                yield one


def _operation_kind(step: fx.Node) -> str | None:
    target: Any = step.target
    if target in SAME_FUNCTIONS:
        return "same"
    if target in JOINS and all(isinstance(value, fx.Node) for value in step.args[:2]):
        return "join"
    dimension = step.args[1] if len(step.args) > 1 else step.kwargs.get("start_dim", step.kwargs.get("dim"))
    if target in FLATTENS and dimension == 1 and len(step.args) < 3 and "end_dim" not in step.kwargs:
        return "flatten"
    return "cat" if target in CONCATENATIONS and dimension == 1 else None


def _layer_kind(name: str, module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return "depthwise" if depthwise(module) else "conv" if module.groups == 1 else "grouped"
    kinds = {nn.Linear: "linear", nn.LayerNorm: "layernorm"} | dict.fromkeys(NORMS, "norm")
    for kind, label in kinds.items():
        if type(module) is kind:
            return label
    if type(module).__name__ in BERT_LEAVES:
        return {"BertEmbeddings": "embeddings", "BertSelfAttention": "attention"}[type(module).__name__]
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return "flatten"
    if isinstance(module, CHANNEL_BY_CHANNEL):
        return "same"
    raise CouplingError(f"the layer {name!r} of kind {type(module).__name__} is not understood; {POINTER}")


def _check_layers(model: nn.Module, nodes: list[Node]) -> None:
    """Every layer with parameters is used exactly once, and no two share a parameter."""
    calls = Counter(node.name for node in nodes)
    seen: dict[int, str] = {}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        covered = [node for node in calls if name == node or (name.startswith(f"{node}.") and node)]
        if own and not covered:
            raise CouplingError(f"the layer {name!r} of kind {type(module).__name__} is not used; {POINTER}")
        if own and sum(calls[node] for node in covered) > 1:
            raise CouplingError(f"the layer {name!r} is shared: it is used more than once; {POINTER}")
        for label, parameter in own.items():
            if id(parameter) in seen:
                raise CouplingError(f"{name}.{label} is shared with {seen[id(parameter)]}; {POINTER}")
            seen[id(parameter)] = f"{name}.{label}"
