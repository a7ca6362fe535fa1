"""BatchNorm folding: at inference a norm multiplies each channel and adds to it, and the convolution can do both."""

from __future__ import annotations

import copy

import torch
from torch import nn

from course_lib import models
from course_lib.architectures import folded_batchnorm

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@torch.no_grad()
def fold_batchnorm(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose BatchNorm layers are part of the convolutions before them.

    y = γ (W x + b - μ) / sqrt(σ² + ε) + β  becomes  W' x + b'  with  W' = W γ / sqrt(σ² + ε)  per output channel and
    b' = (b - μ) γ / sqrt(σ² + ε) + β. The copy can be stored: its description names what was folded. A model without
    BatchNorm comes back as a plain copy.

    Raises:
        ValueError: if a BatchNorm does not directly follow a convolution or linear layer whose output goes nowhere
            else.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    2018 (section 3.2).
    """
    folded = copy.deepcopy(model).eval()
    pairs = batchnorm_pairs(folded)
    layers = dict(folded.named_modules())
    numbers = [fold(layers[before], layers[norm]) for before, norm in pairs]
    folded_batchnorm.replace_norms(folded, pairs)
    for (before, _), (weight, bias) in zip(pairs, numbers, strict=True):
        layers[before].weight.copy_(weight)
        layers[before].bias.copy_(bias)
    if pairs and hasattr(model, models.ARCHITECTURE_ATTRIBUTE):
        described = models.describe(model)
        arguments = {**described["arguments"], "folds": described["arguments"].get("folds", []) + pairs}
        setattr(folded, models.ARCHITECTURE_ATTRIBUTE, {**described, "arguments": arguments})
    return folded


def fold(before: nn.Module, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution or linear layer that does the work of the norm behind it too."""
    assert isinstance(before, nn.Conv2d | nn.Linear) and isinstance(norm, NORMS)
    assert norm.running_mean is not None and norm.running_var is not None
    weight, mean = before.weight.double(), norm.running_mean.double()
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    gain = gain * norm.weight.double() if norm.affine else gain
    shift = norm.bias.double() if norm.affine else 0.0
    bias = 0.0 if before.bias is None else before.bias.double()
    shape = (-1, *[1] * (weight.dim() - 1))
    return (weight * gain.view(shape)).float(), ((bias - mean) * gain + shift).float()


def batchnorm_pairs(model: nn.Module) -> list[list[str]]:
    """Names of each layer and the BatchNorm that takes its output, in the order in which they run.

    Raises:
        ValueError: as ``fold_batchnorm``.
    """
    norms = {name for name, module in model.named_modules() if isinstance(module, NORMS)}
    if not norms:
        return []
    nodes = traced_nodes(model)
    layers = dict(model.named_modules())
    pairs = []
    for node in nodes:
        if node.op == "call_module" and node.target in norms:
            before = node.args[0]
            ok = before.op == "call_module" and len(before.users) == 1
            if not (ok and isinstance(layers[before.target], nn.Conv2d | nn.Linear)):
                raise ValueError(f"BatchNorm {node.target!r} does not directly follow a convolution or linear layer")
            pairs.append([before.target, node.target])
    return pairs


def traced_nodes(model: nn.Module) -> list:
    """The model's operations as ``torch.fx`` sees them, in order.

    Raises:
        ValueError: if the model cannot be traced.
    """
    from torch.fx import Tracer

    try:
        return list(Tracer().trace(model).nodes)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"model {type(model).__name__} cannot be traced by torch.fx: {reason}") from error
