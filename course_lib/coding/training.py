"""Training through the coder: straight-through rounding to the grid, with the number of bits in the loss.

An adaptive coder that expects a magnitude m where a level q stands spends about ``|q| log2(1 + 1/m)`` bits on it, and
``log2(1 + m)`` besides (a geometric distribution with mean m). Its expectation m comes from the levels in the same row
and in the same column. So the bits are an L1 norm whose weight is larger where levels are rare.

Sources: Bengio, Léonard and Courville, Estimating or Propagating Gradients Through Stochastic Neurons, 2013 (the
straight-through estimator); Wiedemann et al., DeepCABAC, 2019, and Oktay et al., Scalable Model Compression by Entropy
Penalized Reparameterization, 2020 (rate in the loss).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from course_lib import models, training
from course_lib.coding.uniform import levels_of, per_row, set_levels, weights_of
from course_lib.data import Split
from course_lib.training.losses import soft_target_loss

SMALLEST_EXPECTATION = 0.02


def expected_magnitudes(levels: Tensor) -> Tensor:
    """Magnitude that is expected of each level, from the means of its row and its column, in the shape of ``levels``.

    ``(row mean) · (column mean) / mean``, at least 0.02; a column is an input channel. All ones have expectation 1.
    """
    magnitudes = levels.abs().float().flatten(2).mean(dim=2) if levels.dim() > 2 else levels.abs().float()
    if magnitudes.dim() < 2:
        return magnitudes.mean().clamp(min=SMALLEST_EXPECTATION).expand(levels.shape)
    rows, columns = magnitudes.mean(dim=1, keepdim=True), magnitudes.mean(dim=0, keepdim=True)
    expected = (rows * columns / magnitudes.mean().clamp(min=1e-9)).clamp(min=SMALLEST_EXPECTATION)
    return expected.reshape(*expected.shape, *[1] * (levels.dim() - 2)).expand(levels.shape)


def expected_bits(weight: Tensor, steps: Tensor) -> Tensor:
    """Bits of ``weight`` on a grid of ``steps``, differentiable in the weights (a scalar).

    Zero, one level and sign: ``|q| log2(1 + 1/m) + log2(1 + m)`` and a sign for each level that is not zero, with the
    expectations m taken as constants.
    """
    q = weight / per_row(steps, weight)
    levels = q.detach().round()
    m = expected_magnitudes(levels)
    signs = (levels != 0).sum()
    return (q.abs() * (1 + 1 / m).log2() + (1 + m).log2()).sum() + signs


class RoundedWeight(nn.Module):
    """Straight-through rounding: forward ``step · round(weight / step)``, backward as if it were not there."""

    steps: Tensor

    def __init__(self, steps: Tensor) -> None:
        super().__init__()
        self.register_buffer("steps", steps)

    def forward(self, weight: Tensor) -> Tensor:
        """``weight`` on the grid."""
        steps = per_row(self.steps, weight)
        return weight + ((weight / steps).round() * steps - weight).detach()


def train_through_coder(
    model: nn.Module,
    train: Split,
    validation: Split | None = None,
    *,
    teacher: nn.Module,
    lam: float,
    temperature: float = 4.0,
    **options: Any,
) -> tuple[nn.Module, training.History]:
    """A copy of a model on uniform grids (``quantize_sequentially``), trained on them with D + λR as the loss.

    D is the divergence from the soft targets of ``teacher``, so that no label is read; R is in bits per weight.

    Args:
        model: with the encodings of ``set_levels``; its steps stay as they are.
        lam: λ, loss per bit and weight.
        temperature: of both outputs.
        options: of ``training.fit``: ``epochs``, ``learning_rate``, ….

    Raises:
        TestSplitError: if a split is the test split.
        ValueError: if the model has no weights on uniform grids, or λ is negative.
    """
    if not lam >= 0:
        raise ValueError(f"lam must be at least 0, got {lam}")
    grids = {name: steps.float() for name, (_, steps) in levels_of(model).items() if name in weights_of(model)}
    if not grids:
        raise ValueError("model has no weights on uniform grids; make them with coding.quantize_sequentially")
    tuned = copy.deepcopy(model)
    owners = {name: tuned.get_submodule(name.removesuffix(".weight")) for name in grids}
    latent = {name: _round_straight_through(owner, grids[name]) for name, owner in owners.items()}

    def loss(net: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        with torch.no_grad():
            targets = models.forward(teacher, inputs)
        distortion = soft_target_loss(models.forward(net, inputs), targets, temperature)
        return distortion + lam * bits_per_weight(latent, grids) if lam else distortion

    teacher.eval()
    history = training.fit(tuned, train, validation, loss=loss, **options)
    for owner in owners.values():
        parametrize.remove_parametrizations(owner, "weight", leave_parametrized=True)
    return on_old_grids(tuned, model), history


def _round_straight_through(layer: Any, steps: Tensor) -> Tensor:
    """Put ``RoundedWeight`` on the weight of a layer, in place; returns the parameter that is trained."""
    parametrize.register_parametrization(layer, "weight", RoundedWeight(steps))
    return layer.parametrizations["weight"].original


def bits_per_weight(weights: Mapping[str, Tensor], steps: Mapping[str, Tensor]) -> Tensor:
    """Mean of ``expected_bits`` over the weights of all layers: parameter name → weight, and its steps."""
    bits = torch.stack([expected_bits(weight, steps[name]) for name, weight in weights.items()])
    return bits.sum() / sum(weight.numel() for weight in weights.values())


def on_old_grids(tuned: nn.Module, model: nn.Module) -> nn.Module:
    """Put the weights and biases of ``tuned`` onto the grids of ``model``, in place, and attach their encodings."""
    state = tuned.state_dict()
    grids = {name: steps for name, (_, steps) in levels_of(model).items()}
    levels = {name: (state[name] / per_row(steps.float(), state[name])).round().int() for name, steps in grids.items()}
    return set_levels(tuned, levels, grids)
