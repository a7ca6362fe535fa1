"""Kinds of operations: what each function, method and layer of torch does to the channels of its input.

What is in none of the tables is ``opaque``: it may mix channels, so the channels that it reads have to stay whole.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from course_lib.architectures.layer_sizes import NORMS, is_depthwise

# Every entry of the output depends on the same entry of the input and on no other.
POINTWISE_LAYERS = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish,
    nn.Hardsigmoid, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
)  # fmt: skip
POINTWISE_FUNCTIONS = {
    F.relu, F.relu6, F.hardtanh, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.hardswish,
    F.hardsigmoid, F.softplus, F.tanh, F.sigmoid, F.dropout, F.dropout2d, torch.relu, torch.relu_, torch.tanh,
    torch.sigmoid, torch.abs, torch.exp, torch.neg, torch.square, operator.neg, "relu", "relu_", "tanh", "sigmoid",
    "abs", "exp", "neg", "square", "contiguous", "clone", "float",
}  # fmt: skip
POINTWISE_NAMES = {"stochastic_depth"}  # functions of torchvision, which need not be imported to be known
# The same for maps with their channels in dimension 1: every channel by itself, over its pixels.
SPATIAL_LAYERS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, nn.ZeroPad2d, nn.ReflectionPad2d,
    nn.ReplicationPad2d,
)  # fmt: skip
SPATIAL_FUNCTIONS = {
    F.max_pool1d, F.max_pool2d, F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
    F.adaptive_max_pool2d, F.interpolate,
}  # fmt: skip
ARITHMETIC_FUNCTIONS = {
    operator.add, operator.iadd, operator.sub, operator.isub, operator.mul, operator.imul, torch.add, torch.sub,
    torch.mul, torch.maximum, torch.minimum, "add", "add_", "sub", "sub_", "mul", "mul_",
}  # fmt: skip
SCALING_FUNCTIONS = {operator.truediv, operator.itruediv, operator.pow, torch.div, torch.pow, "div", "div_", "pow"}
FLATTEN_FUNCTIONS = {torch.flatten, "flatten"}
RESHAPE_FUNCTIONS = {torch.reshape, "reshape", "view"}
MEAN_FUNCTIONS = {torch.mean, torch.amax, torch.sum, "mean", "amax", "sum"}
CONCAT_FUNCTIONS = {torch.cat, torch.concat, torch.concatenate}
FACTS = ("dtype", "device", "ndim", "requires_grad")
CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
BERT_LEAVES = {"BertEmbeddings": "embeddings", "BertSelfAttention": "attention"}

Kind = tuple[str, Any]
OPAQUE: Kind = ("opaque", None)


def layer_kind(module: nn.Module) -> Kind:
    """Kind of a layer, by its exact class: a subclass may compute something else."""
    exact = type(module).__bases__[0] if is_parametrized(module) else type(module)
    if exact in CONVOLUTIONS:
        return _convolution_kind(module)
    kinds = {nn.Linear: "linear", nn.LayerNorm: "layernorm"} | dict.fromkeys(NORMS, "norm")
    if exact in kinds:
        return kinds[exact], None
    if exact.__name__ in BERT_LEAVES and exact.__module__.startswith("transformers."):
        return BERT_LEAVES[exact.__name__], None
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return "flatten", None
    if exact in POINTWISE_LAYERS:
        return "pointwise", None
    return ("spatial", _pixel_dimensions(exact)) if exact in SPATIAL_LAYERS else OPAQUE


def _pixel_dimensions(operation: Any) -> int | None:
    """2 for ``MaxPool2d`` and ``max_pool2d``, None for ``Upsample``, which works for any number."""
    found = re.search(r"(\d)d$", operation.__name__)
    return int(found[1]) if found else None


def _convolution_kind(module: Any) -> Kind:
    if is_depthwise(module):
        return "depthwise", None
    return ("conv" if module.groups == 1 else "grouped"), None


def operation_kind(step: fx.Node, inputs: int) -> Kind:
    """Kind of a function or method with this number of inputs that are values of the graph."""
    target: Any = step.target
    if target in ARITHMETIC_FUNCTIONS and "out" not in step.kwargs and inputs in (1, 2):
        return ("pointwise" if inputs == 1 else "elementwise"), None
    pointwise = target in POINTWISE_FUNCTIONS or getattr(target, "__name__", "") in POINTWISE_NAMES
    if (pointwise or target in SCALING_FUNCTIONS) and inputs == 1:
        return "pointwise", None
    if target in SPATIAL_FUNCTIONS and inputs == 1:
        return "spatial", _pixel_dimensions(target)
    for functions, classify in _BY_ARGUMENTS:
        if target in functions:
            return classify(step, inputs)
    return OPAQUE


def _argument(step: fx.Node, position: int, *names: str, default: Any = None) -> Any:
    if len(step.args) > position:
        return step.args[position]
    return next((step.kwargs[name] for name in names if name in step.kwargs), default)


def _flatten(step: fx.Node, inputs: int) -> Kind:
    start, end = _argument(step, 1, "start_dim", default=0), _argument(step, 2, "end_dim", default=-1)
    return ("flatten", None) if inputs == 1 and (start, end) == (1, -1) else OPAQUE


def _reshape(step: fx.Node, inputs: int) -> Kind:
    """``x.view(batch, -1)`` is a flatten if the first size is that of the batch."""
    sizes = step.args[1:]
    if len(sizes) == 1 and isinstance(sizes[0], list | tuple):
        sizes = tuple(sizes[0])
    fits = inputs == 2 and not step.kwargs and len(sizes) == 2 and isinstance(sizes[0], fx.Node) and sizes[1] == -1
    return ("batch_flatten", None) if fits else OPAQUE


def _mean(step: fx.Node, inputs: int) -> Kind:
    """A mean over given dimensions; the detail is ``(dimensions, whether they are kept)``."""
    dims = _argument(step, 1, "dim")
    dims = (dims,) if isinstance(dims, int) else dims
    keep = _argument(step, 2, "keepdim", default=False)
    simple = isinstance(dims, list | tuple) and all(isinstance(dim, int) for dim in dims) and isinstance(keep, bool)
    return ("mean", (tuple(dims), keep)) if simple and inputs == 1 and len(step.args) <= 3 else OPAQUE


def _concat(step: fx.Node, inputs: int) -> Kind:
    parts, dim = _argument(step, 0, "tensors"), _argument(step, 1, "dim", "axis", default=0)
    listed = isinstance(parts, list | tuple) and len(parts) == inputs and isinstance(dim, int)
    return ("concat", dim) if listed else OPAQUE


def _attribute(step: fx.Node, inputs: int) -> Kind:
    name = step.args[1]
    return ("shape", None) if name == "shape" else ("fact", None) if name in FACTS else OPAQUE


def _size(step: fx.Node, inputs: int) -> Kind:
    dim = _argument(step, 1, "dim")
    if dim is None:
        return "shape", None
    return ("size", dim) if isinstance(dim, int) else OPAQUE


def _item(step: fx.Node, inputs: int) -> Kind:
    return ("item", step.args[1]) if inputs == 1 else OPAQUE


def _fact(step: fx.Node, inputs: int) -> Kind:
    return "fact", None


_BY_ARGUMENTS: tuple[tuple[set[Any], Callable[[fx.Node, int], Kind]], ...] = (
    (FLATTEN_FUNCTIONS, _flatten), (RESHAPE_FUNCTIONS, _reshape), (MEAN_FUNCTIONS, _mean), (CONCAT_FUNCTIONS, _concat),
    ({getattr}, _attribute), ({"size"}, _size), ({operator.getitem}, _item), ({"dim"}, _fact),
)  # fmt: skip
