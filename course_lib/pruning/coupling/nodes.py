"""Nodes: the operations of a model, traced with torch.fx and classified into the few kinds that coupling needs.

An operation of another kind is refused by name, because a wrong guess would give a model that runs and is wrong.
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

from course_lib.architectures.layer_sizes import NORMS, is_depthwise

POINTER = "for other architectures use the Torch-Pruning library, https://github.com/VainF/Torch-Pruning"

# Each channel of the output depends on the same channel of the input and on no other.
CHANNELWISE_LAYERS = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh, nn.Sigmoid,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
CHANNELWISE_FUNCTIONS = {
    F.relu, F.relu6, F.hardtanh, F.leaky_relu, F.gelu, F.silu, F.hardswish, F.dropout, F.max_pool2d, F.avg_pool2d,
    F.adaptive_avg_pool2d, torch.relu, torch.tanh, torch.sigmoid, "relu", "tanh", "sigmoid", "contiguous",
}  # fmt: skip
ELEMENTWISE_FUNCTIONS = {
    operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul, "add", "add_", "mul", "mul_",
}  # fmt: skip
FLATTEN_FUNCTIONS = {torch.flatten, "flatten"}
CONCAT_FUNCTIONS = {torch.cat, torch.concat}
BERT_LEAVES = ("BertEmbeddings", "BertSelfAttention")


class CouplingError(ValueError):
    """A model, or a part of it, is not understood; the message names it."""


@dataclass(frozen=True)
class Node:
    """One operation of a model.

    Args:
        name: of the layer, or of the operation in the graph.
        kind: ``input``, ``output``, ``conv``, ``depthwise``, ``grouped``, ``linear``, ``norm``, ``layernorm``,
            ``embeddings``, ``attention``, ``channelwise``, ``elementwise``, ``flatten`` or ``concat``.
        inputs: keys of the nodes whose outputs it takes.
        key: unique within the graph.
    """

    key: str
    name: str
    kind: str
    inputs: tuple[str, ...]


def trace(model: nn.Module) -> list[Node]:
    """The nodes of ``model`` in the order in which they run.

    Raises:
        CouplingError: if the model cannot be traced, or has an operation, layer or parameter that is not understood.
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
    root = _BertForward(model) if is_bert(model) else model
    try:
        return _Tracer().trace(root)
    except Exception as error:  # a forward pass may raise anything when it is called with proxies
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CouplingError(f"{type(model).__name__} cannot be traced by torch.fx ({reason}); {POINTER}") from error


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


def _node(step: fx.Node, modules: dict[str, nn.Module]) -> Node:
    inputs = tuple(value.name for value in _inputs(step))
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


def _inputs(step: fx.Node) -> Iterator[fx.Node]:
    """The inputs of a node in order, those within a list (as for ``torch.cat``) too."""
    for value in step.args:
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, fx.Node):
                yield one


def _operation_kind(step: fx.Node) -> str | None:
    target: Any = step.target
    if target in CHANNELWISE_FUNCTIONS:
        return "channelwise"
    if target in ELEMENTWISE_FUNCTIONS and all(isinstance(value, fx.Node) for value in step.args[:2]):
        return "elementwise"
    dimension = step.args[1] if len(step.args) > 1 else step.kwargs.get("start_dim", step.kwargs.get("dim"))
    if target in FLATTEN_FUNCTIONS and dimension == 1 and len(step.args) < 3 and "end_dim" not in step.kwargs:
        return "flatten"
    return "concat" if target in CONCAT_FUNCTIONS and dimension == 1 else None


def _layer_kind(name: str, module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return "depthwise" if is_depthwise(module) else "conv" if module.groups == 1 else "grouped"
    kinds = {nn.Linear: "linear", nn.LayerNorm: "layernorm"} | dict.fromkeys(NORMS, "norm")
    if type(module) in kinds:
        return kinds[type(module)]
    if type(module).__name__ in BERT_LEAVES:
        return {"BertEmbeddings": "embeddings", "BertSelfAttention": "attention"}[type(module).__name__]
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return "flatten"
    if isinstance(module, CHANNELWISE_LAYERS):
        return "channelwise"
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
