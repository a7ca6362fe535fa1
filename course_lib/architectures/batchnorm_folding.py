"""BatchNorm folding: at inference BatchNorm scales and shifts channels, and the layer before it can do both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from course_lib.architectures.folded_batchnorm import replace_norms
from course_lib.architectures.layer_sizes import NORMS
from course_lib.architectures.modes import evaluating
from course_lib.architectures.registry import extend_argument
from course_lib.architectures.tracing import changes_values, forward_graphs, used_once
from course_lib.architectures.weighted_layers import copy_model
from course_lib.core.validation import error_prefix

Inputs = Tensor | Mapping[str, Tensor]


@torch.no_grad()
def fold_batchnorm(model: nn.Module, inputs: Inputs | None = None) -> nn.Module:
    """A copy in eval mode whose BatchNorm layers are folded into the convolution or linear layer before them.

    y = γ (W x + b - μ) / sqrt(σ² + ε) + β  becomes  W' x + b'  with  W' = W γ / sqrt(σ² + ε)  per output channel and
    b' = (b - μ) γ / sqrt(σ² + ε) + β. The copy can be stored: its description lists the folded pairs. A model without
    BatchNorm is copied unchanged. A BatchNorm stays where it does not directly follow such a layer (as in DenseNet), or
    where the layer is called several times or feeds something else.

    Args:
        inputs: an example, which tells apart the two uses of ``BatchNorm1d`` behind a linear layer. It normalizes
            dimension 1, in rows ``(B, C)`` the features, so it is folded, but in sequences ``(B, L, C)`` the positions,
            so it stays. Without an example rows are assumed, and the folded model refuses sequences.

    Raises:
        ValueError: if the model has a BatchNorm and cannot be traced, a BatchNorm to fold has no running statistics, or
            a weight is recomputed before each call.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    2018 (section 3.2).
    """
    folded = copy_model(model).eval()
    pairs = batchnorm_pairs(folded, inputs)
    layers = dict(folded.named_modules())
    parameters = []
    for before, norm in pairs:
        with error_prefix(f"layers {before!r} and {norm!r}"):
            parameters.append(folded_parameters(layers[before], layers[norm]))
    replace_norms(folded, pairs)
    for (before, _), (weight, bias) in zip(pairs, parameters, strict=True):
        layers[before].weight.copy_(weight)
        layers[before].bias.copy_(bias)
    if pairs:
        extend_argument(folded, "folds", pairs)
    return folded


def folded_parameters(before: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution or linear layer with the BatchNorm after it folded in, in its dtype."""
    assert isinstance(before, nn.Conv2d | nn.Linear) and isinstance(norm, NORMS)
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(
            "BatchNorm has no running statistics (track_running_stats=False), so its output depends on the whole batch "
            "and it cannot be folded; train it with running statistics, or replace it"
        )
    weight, mean = before.weight.double(), norm.running_mean.double()
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    gain = gain * norm.weight.double() if norm.affine else gain
    shift = norm.bias.double() if norm.affine else 0.0
    bias = 0.0 if before.bias is None else before.bias.double()
    shape = (-1, *[1] * (weight.dim() - 1))
    dtype = before.weight.dtype
    return (weight * gain.view(shape)).to(dtype), ((bias - mean) * gain + shift).to(dtype)


def batchnorm_pairs(model: nn.Module, inputs: Inputs | None = None) -> list[list[str]]:
    """Pairs [layer, BatchNorm on its output] by name, in execution order.

    A pair is left out if one of the two is called several times, shares its parameters or has hooks on its output, or
    if something else reads the output of the layer: it cannot be folded alone.

    Args:
        inputs: as in ``fold_batchnorm``.

    Raises:
        ValueError: as ``fold_batchnorm``.
    """
    if not any(isinstance(module, NORMS) for module in model.modules()):
        return []
    first, *others = [list(_pairs_of(model, graph)) for graph in forward_graphs(model)]
    pairs = [pair for pair in first if all(pair in other for other in others)]
    if pairs and inputs is not None:
        of_sequences = norms_of_sequences(model, inputs)
        pairs = [pair for pair in pairs if pair[1] not in of_sequences]
    return pairs


def _pairs_of(model: nn.Module, graph: fx.Graph) -> Iterator[list[str]]:
    layers, once = dict(model.named_modules()), used_once(model, graph)
    for node in graph.nodes:
        before = node.all_input_nodes[0] if node.op == "call_module" and node.target in once else None
        if before is None or before.target not in once or len(before.users) > 1:
            continue
        if _can_be_folded(layers[before.target], layers[node.target]):
            yield [before.target, node.target]


def _can_be_folded(before: Any, norm: Any) -> bool:
    """Whether ``norm`` scales the output channels of the layer ``before``; subclasses may compute something else."""
    pair = {nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}.get(type(before))
    changed = changes_values(before, ["_forward_hooks"]) or changes_values(norm)
    return type(norm) is pair and not changed and len(before.weight) == norm.num_features


def norms_of_sequences(model: nn.Module, inputs: Inputs) -> set[str]:
    """Names of the ``BatchNorm1d`` layers whose input has more dimensions than examples and features."""
    found: set[str] = set()

    def watch(name: str) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            if next(iter((*args, *kwargs.values()))).dim() > 2:
                found.add(name)

        return hook

    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm1d)}
    hooks = [norm.register_forward_pre_hook(watch(name), with_kwargs=True) for name, norm in norms.items()]
    try:
        with evaluating(model), torch.no_grad():
            model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    finally:
        for handle in hooks:
            handle.remove()
    return found
