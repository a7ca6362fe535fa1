"""Weights onto uniform grids for an entropy coder: GPTQ in one pass, layer after layer, with matched statistics.

The calibration examples run through the model once, as one batch. When they reach a layer, the Hessian of its present
inputs is taken, the weights are put onto the grid column by column (GPTQ), and the output gets the mean and variance
that it has in the original model. The layers after it see what the quantized layers before it return.

An error δ of weight j of row i, after the corrections of GPTQ, costs about ½ f_i d_j δ², where f_i is the Fisher
information of output i and d_j = 1 / U_jj². All rows trade bits for loss at the same rate if their steps are
``c / sqrt(f_i d)``, with the mean d of the d_j; c is the one knob. A bias is a weight whose input is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import models
from course_lib.architectures.weighted_layers import copy_model
from course_lib.coding.embeddings import quantize_embeddings
from course_lib.coding.uniform import per_row, quantize_levels, set_levels, storable_steps
from course_lib.core.validation import check_positive
from course_lib.data import Split, refuse_test
from course_lib.models.hooks import forward_hooks, forward_pre_hooks
from course_lib.training.input_statistics import inverse_factor

LAZY_BLOCK = 64
IMAGES_AT_ONCE = 64
SMALLEST_SHARE = 1e-4  # added to the Fisher information of each row, as a share of the mean of the layer
LARGEST_GAIN = 2.0


def gptq_levels(weight: Tensor, U: Tensor, steps: Tensor, *, keep_zeros: bool = False) -> Tensor:
    """Levels (int32) of ``weight`` ``(out, in)`` by GPTQ, on a grid that has no ends.

    Args:
        U: upper triangular ``(in, in)``, from ``inverse_factor`` of the Hessian of the inputs.
        steps: one per row, ``(out,)``.
        keep_zeros: whether weights that are zero stay zero.

    Source: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, 2022.
    """
    W, pruned = weight.float().clone(), weight == 0
    levels = torch.zeros_like(W)
    for start in range(0, W.shape[1], LAZY_BLOCK):
        stop = min(start + LAZY_BLOCK, W.shape[1])
        E = torch.empty(len(W), stop - start)
        for j in range(start, stop):
            q = (W[:, j] / steps).round()
            levels[:, j] = q.masked_fill(pruned[:, j], 0) if keep_zeros else q
            E[:, j - start] = e = (W[:, j] - levels[:, j] * steps) / U[j, j]
            W[:, j:stop] -= torch.outer(e, U[j, j:stop])
        W[:, stop:] -= E @ U[start:stop, stop:]
    return levels.int()


def layer_hessians(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Mean of ``x xᵀ`` over the inputs x of each group of a convolution or of a linear layer, ``(groups, in, in)``.

    Args:
        inputs: ``(B, C, H, W)`` of a convolution, ``(…, in)`` of a linear layer.
    """
    if not isinstance(layer, nn.Conv2d):
        rows = inputs.flatten(0, -2)
        return (rows.T @ rows / len(rows))[None]
    total, count = torch.zeros(()), 0
    for images in inputs.split(IMAGES_AT_ONCE):
        patches = F.unfold(images, layer.kernel_size, layer.dilation, _padding(layer), layer.stride)
        x = patches.unflatten(1, (layer.groups, -1)).permute(1, 2, 0, 3).flatten(2)
        total, count = total + x @ x.mT, count + x.shape[2]
    return total / count


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise ValueError(f"padding must be numbers of zeros, got {layer.padding!r}, {layer.padding_mode!r}")
    return layer.padding


def row_steps(fisher: Tensor, hessian: Tensor, U: Tensor, c: float) -> Tensor:
    """Step of each row, ``c / sqrt(f_i d)``.

    Args:
        fisher: ``(out, in)``, Fisher information of the weights; over the mean diagonal of ``hessian`` its row mean is
            that of the output, f_i.
    """
    f = fisher.mean(dim=1) / hessian.diagonal().mean()
    d = (1 / U.diagonal().square()).mean()
    return c / (f * d).sqrt()


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each output channel, ``(out,)``."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, layer: nn.Module, outputs: Tensor, mask: Tensor | None) -> Moments:
        """Over all examples and positions; padded tokens (``mask`` False) do not count."""
        rows = output_rows(layer, outputs, mask)
        return cls(rows.mean(dim=0), rows.std(dim=0, correction=0))


def output_rows(layer: nn.Module, values: Tensor, mask: Tensor | None) -> Tensor:
    """Inputs or outputs as ``(n, channels)``, one row per position or unmasked token."""
    channels_last = values.movedim(1, -1) if isinstance(layer, nn.Conv2d) else values
    if mask is not None and channels_last.shape[:-1] == mask.shape:
        channels_last = channels_last[mask]
    return channels_last.reshape(-1, channels_last.shape[-1])


@torch.no_grad()
def quantize_sequentially(
    model: nn.Module,
    calibration: Split,
    fisher: Mapping[str, Tensor],
    c: float,
    *,
    damping: float = 0.1,
    keep_zeros: bool = False,
    match: bool = True,
    counts: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A copy of ``model`` whose convolutions, linear layers and embeddings lie on uniform grids.

    Args:
        model: with BatchNorm folded (``fold_batchnorm``), if it has any.
        calibration: train or validation; its labels are not read. All examples are in memory at once.
        fisher: of all parameters, from ``fisher_information``.
        c: larger for fewer bits.
        damping: added to the diagonal of H, as a fraction of its mean.
        keep_zeros: whether pruned weights stay zero.
        match: whether outputs get the mean and variance that they have in ``model``.
        counts: of the rows of embeddings, from ``embedding_counts``; without them all rows of one have the same step.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if ``c`` is not positive, the model has BatchNorm layers, or a layer is never reached.
    """
    refuse_test(calibration, "used for calibration")
    check_positive("c", c)
    if any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules()):
        raise ValueError("model has BatchNorm layers, whose statistics would be those of other weights; fold them")
    quantized = quantize_embeddings(copy_model(model).eval(), fisher, c, counts or {})
    run = _Pass(quantized, fisher, c, damping, keep_zeros, match)
    inputs = calibration.example(len(calibration))
    if isinstance(inputs, dict):
        run.mask = inputs["attention_mask"].bool()
    with models.evaluating(model), forward_hooks(model, run.hooks(run.record)):
        models.forward(model, inputs)
    with forward_pre_hooks(quantized, run.hooks(run.quantize)), forward_hooks(quantized, run.hooks(run.match_output)):
        models.forward(quantized, inputs)
    return set_levels(quantized, run.levels, run.steps)


class _Pass:
    """One run of the calibration batch: what hooks need to know, and the levels and steps that they find."""

    def __init__(
        self, model: nn.Module, fisher: Mapping[str, Tensor], c: float, damping: float, keep_zeros: bool, match: bool
    ) -> None:
        self.fisher, self.c, self.damping, self.keep_zeros, self.match = fisher, c, damping, keep_zeros, match
        self.names = list(models.prunable_layers(model))
        self.mask: Tensor | None = None
        self.moments: dict[str, Moments] = {}
        self.levels: dict[str, Tensor] = {}
        self.steps: dict[str, Tensor] = {}

    def hooks(self, method: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
        """Layer name → ``method`` with that name as its first argument."""
        return {name: partial(method, name) for name in self.names}

    def record(self, name: str, layer: nn.Module, _: Any, output: Tensor) -> None:
        """Hook after a layer of the original model: keep the moments of its outputs."""
        self.moments[name] = Moments.of(layer, output, self.mask)

    def quantize(self, name: str, layer: Any, inputs: tuple[Tensor, ...]) -> None:
        """Hook before a layer: put its weights onto grids by GPTQ, on the inputs that it gets."""
        values = inputs[0]
        if not isinstance(layer, nn.Conv2d):
            values = output_rows(layer, values, self.mask)
        hessians, groups = layer_hessians(layer, values), getattr(layer, "groups", 1)
        weight = layer.weight.detach().flatten(1)
        information = self.fisher[f"{name}.weight"].flatten(1)
        information = information + SMALLEST_SHARE * information.mean() + torch.finfo().tiny
        levels, steps = [], []
        for H, W, f in zip(hessians, weight.chunk(groups), information.chunk(groups), strict=True):
            U = inverse_factor(H, self.damping)
            steps.append(storable_steps(row_steps(f, H, U, self.c)))
            levels.append(gptq_levels(W, U, steps[-1], keep_zeros=self.keep_zeros))
        self.levels[f"{name}.weight"] = torch.cat(levels).view_as(layer.weight)
        self._set_steps(name, layer, torch.cat(steps))

    def match_output(self, name: str, layer: Any, _: Any, output: Tensor) -> Tensor:
        """Hook after a layer: scale its rows and move its bias so that outputs have the moments of the original."""
        if not self.match:
            return output
        wanted, found = self.moments[name], Moments.of(layer, output, self.mask)
        gain = (wanted.std / found.std.clamp(min=1e-12)).clamp(1 / LARGEST_GAIN, LARGEST_GAIN)
        old = self.steps[f"{name}.weight"].float()
        self._set_steps(name, layer, storable_steps(old * torch.where(found.std > 1e-6, gain, 1)))
        gain = self.steps[f"{name}.weight"].float() / old
        bias = torch.zeros_like(gain) if layer.bias is None else layer.bias.detach().clone()
        if layer.bias is not None:
            self._set_bias(name, layer, wanted.mean - (found.mean - bias) * gain)
        shape = (-1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)
        return (output - bias.view(shape)) * gain.view(shape) + (0 if layer.bias is None else layer.bias.view(shape))

    def _set_steps(self, name: str, layer: Any, steps: Tensor) -> None:
        key = f"{name}.weight"
        self.steps[key] = steps.half()
        layer.weight.copy_(self.levels[key].float() * per_row(self.steps[key].float(), layer.weight))

    def _set_bias(self, name: str, layer: Any, bias: Tensor) -> None:
        key = f"{name}.bias"
        mean = self.fisher[key].mean().clamp(min=torch.finfo().tiny)
        self.steps[key] = storable_steps(self.c / mean.sqrt()).half()
        self.levels[key] = quantize_levels(bias, self.steps[key].float())
        layer.bias.copy_(self.levels[key].float() * self.steps[key].float())
