"""BatchNorm folding: at inference BatchNorm scales and shifts channels, and the layer before it can do both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.architectures.folded_batchnorm import replace_norms
from course_lib.architectures.layer_sizes import NORMS
from course_lib.architectures.registry import extend_argument
from course_lib.architectures.weighted_layers import copy_model
from course_lib.core.validation import error_prefix


@torch.no_grad()
def fold_batchnorm(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose BatchNorm layers are folded into the convolution or linear layer before them.

    y = γ (W x + b - μ) / sqrt(σ² + ε) + β  becomes  W' x + b'  with  W' = W γ / sqrt(σ² + ε)  per output channel and
    b' = (b - μ) γ / sqrt(σ² + ε) + β. The copy can be stored: its description lists the folded pairs. A model without
    BatchNorm is copied unchanged. A BatchNorm stays where it does not directly follow such a layer (as in DenseNet), or
    where the layer is called several times or feeds something else.

    Raises:
        ValueError: if the model has a BatchNorm and cannot be traced, a BatchNorm to fold has no running statistics, or
            a weight is recomputed before each call.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    2018 (section 3.2).
    """
    folded = copy_model(model).eval()
    pairs = batchnorm_pairs(folded)
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
    """Weight and bias of a convolution or linear layer with the BatchNorm after it folded in, fp32."""
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
    return (weight * gain.view(shape)).float(), ((bias - mean) * gain + shift).float()


def batchnorm_pairs(model: nn.Module) -> list[list[str]]:
    """Pairs [layer, BatchNorm on its output] by name, in execution order.

    A pair is left out if one of the two is called several times, shares its parameters or has hooks on its output, or
    if something else reads the output of the layer: it cannot be folded alone.

    Raises:
        ValueError: as ``fold_batchnorm``.
    """
    layers = dict(model.named_modules())
    norms = {name for name, module in layers.items() if isinstance(module, NORMS)}
    nodes = traced_nodes(model) if norms else []
    once = used_once(model, nodes)
    pairs = []
    for node in nodes:
        before = node.all_input_nodes[0] if node.op == "call_module" and node.target in norms & once else None
        if before is None or before.op != "call_module" or len(before.users) > 1:
            continue
        if before.target in once and _can_be_folded(layers[before.target], layers[node.target]):
            pairs.append([before.target, node.target])
    return pairs


def _can_be_folded(before: Any, norm: Any) -> bool:
    """Whether ``norm`` scales the output channels of the layer ``before``; subclasses may compute something else."""
    pair = {nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}.get(type(before))
    hooked = before._forward_hooks or norm._forward_hooks or norm._forward_pre_hooks
    return type(norm) is pair and not hooked and len(before.weight) == norm.num_features


def used_once(model: nn.Module, nodes: Sequence[Any]) -> set[str]:
    """Names of the modules that ``nodes`` call once, and whose parameters nothing else uses."""
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    read = [str(node.target) for node in nodes if node.op == "get_attr"]
    layers = dict(model.named_modules())
    holders = Counter(id(value) for module in layers.values() for value in module._parameters.values())
    return {
        name
        for name, count in calls.items()
        if count == 1
        and all(holders[id(value)] == 1 for value in layers[name].parameters(recurse=False))
        and not any(target.startswith(f"{name}.") for target in read)
    }


def traced_nodes(model: nn.Module) -> list[Any]:
    """``torch.fx`` nodes of the model, in execution order.

    Raises:
        ValueError: if the model cannot be traced.
    """
    from torch.fx import Tracer

    try:
        return list(Tracer().trace(model).nodes)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"model {type(model).__name__} cannot be traced by torch.fx: {reason}") from error
