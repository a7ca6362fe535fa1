"""Zero-cost proxies: scores of untrained nets that should tell which of them will be accurate.

Source: Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, 2021.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.layer_sizes import NORMS
from course_lib.profiling.counting import count_parameters

JITTER = 1e-5


def synflow(model: nn.Module, images: Tensor) -> float:
    """Logarithm of the sum over all weights of ``|θ · ∂R/∂θ|``, where R is the sum of the outputs for an input of ones.

    Weights are replaced by their magnitudes and BatchNorm is skipped, so R sums the strengths of all paths through the
    net. Only the shape of ``images`` matters.

    Source: Tanaka et al., Pruning Neural Networks without any Data by Iteratively Conserving Synaptic Flow, 2020.
    """
    linear = copy.deepcopy(model).double().eval()
    for name, module in list(linear.named_modules()):
        if isinstance(module, NORMS):
            linear.set_submodule(name, nn.Identity())
    for parameter in linear.parameters():
        parameter.data.abs_()
        parameter.grad = None
    models.forward(linear, torch.ones_like(images[:1], dtype=torch.float64)).sum().backward()
    flow = sum(float((p.detach() * p.grad).abs().sum()) for p in linear.parameters() if p.grad is not None)
    return float(torch.tensor(flow, dtype=torch.float64).log())


def jacob_cov(model: nn.Module, images: Tensor) -> float:
    """``-Σ (ln(λ + k) + 1 / (λ + k))`` over the eigenvalues λ of the correlation of the inputs' gradients.

    The gradient of the summed outputs is taken for each image; a net whose gradients differ from image to image can
    tell them apart, and its eigenvalues are all near 1.

    Args:
        images: ``(B, C, H, W)``, B of at least 2.

    Raises:
        ValueError: if there are fewer than two images.

    Source: Mellor et al., Neural Architecture Search without Training, 2020 (first version).
    """
    if len(images) < 2:
        raise ValueError(f"images must be at least 2, got {len(images)}")
    inputs = images.clone().requires_grad_()
    probed = copy.deepcopy(model).train()
    gradient = torch.autograd.grad(models.forward(probed, inputs).sum(), inputs)[0].flatten(1)
    eigenvalues = torch.linalg.eigvalsh(torch.corrcoef(gradient.double())).clamp(min=0) + JITTER
    return -float((eigenvalues.log() + 1 / eigenvalues).sum())


def parameter_count(model: nn.Module, images: Tensor) -> float:
    """Number of parameters, the simplest proxy; ``images`` are not used."""
    return float(count_parameters(model))


PROXIES: dict[str, Callable[[nn.Module, Tensor], float]] = {
    "synflow": synflow, "jacob_cov": jacob_cov, "parameters": parameter_count,
}  # fmt: skip
"""Name → ``(untrained model, images) -> score``, higher is better."""
