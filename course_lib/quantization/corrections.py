"""Repairs that need no training: weights that fit one scale better, and a mean that rounding has moved."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models, storage
from course_lib.data import Split
from course_lib.models.hooks import forward_hooks
from course_lib.quantization.batchnorm import traced_nodes
from course_lib.quantization.calibration import check_calibration, quantizable_layers


@torch.no_grad()
def equalize(model: nn.Module, iterations: int = 20) -> nn.Module:
    """A copy in which neighbouring layers share their ranges evenly; it computes the same function.

    Between two convolutions with only a ReLU in between, channel i can be divided by s_i > 0 behind the first and
    multiplied by s_i before the second, because relu(s x) = s relu(x). s_i = sqrt(r1_i r2_i) / r2_i, with r the largest
    magnitude of the channel's weights, makes both ranges equal. It helps where one scale serves a whole tensor.

    Args:
        model: BatchNorm must be folded first (``fold_batchnorm``).

    Raises:
        ValueError: if the model cannot be traced.

    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019 (section 4.1).
    """
    balanced = copy.deepcopy(model).eval()
    layers = dict(balanced.named_modules())
    pairs = [(layers[first], layers[second]) for first, second in equalizable_pairs(balanced)]
    for _ in range(iterations):
        for first, second in pairs:
            _equalize_pair(first, second)
    if storage.encodings_of(balanced):
        storage.set_encodings(balanced, {})
    return balanced


def equalizable_pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of convolutions (or linear layers) between which there is nothing but a ReLU."""
    layers = dict(model.named_modules())
    matrix = (nn.Conv2d, nn.Linear)

    def module(node: Any) -> nn.Module | None:
        return layers.get(node.target) if node.op == "call_module" else None

    pairs = []
    for node in traced_nodes(model):
        if not isinstance(module(node), matrix):
            continue
        following, relus = node, 0
        while len(following.users) == 1:
            following = next(iter(following.users))
            if isinstance(module(following), nn.ReLU):
                relus += 1
            elif not isinstance(module(following), nn.Identity):
                break
        if relus and type(module(following)) is type(module(node)) and getattr(module(following), "groups", 1) == 1:
            pairs.append((str(node.target), str(following.target)))
    return pairs


def _equalize_pair(first: Any, second: Any) -> None:
    into, out_of = first.weight.flatten(1).abs().amax(1), second.weight.transpose(0, 1).flatten(1).abs().amax(1)
    alive = (into > 0) & (out_of > 0)
    factor = torch.where(alive, (into * out_of).sqrt() / out_of.clamp(min=1e-30), torch.ones_like(into))
    column = (-1, *[1] * (first.weight.dim() - 1))
    first.weight.div_(factor.view(column))
    if first.bias is not None:
        first.bias.div_(factor)
    second.weight.mul_(factor.view(1, -1, *column[2:]))


@torch.no_grad()
def correct_bias(
    quantized: nn.Module,
    exact: nn.Module,
    calibration: Split,
    *,
    layers: Collection[str] | None = None,
) -> nn.Module:
    """A copy of ``quantized`` whose biases give every channel of every layer the mean that it has in ``exact``.

    Rounding errors of the weights do not average out: with inputs that are mostly positive (behind a ReLU) they move
    the mean of a channel. The layers are corrected in the order in which they run, each behind those that are corrected
    already, in one forward pass of all calibration examples. Layers without a bias are left as they are.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if it is empty.

    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019 (section 4.2).
    """
    check_calibration(calibration)
    corrected = copy.deepcopy(quantized).eval()
    names = [name for name, layer in quantizable_layers(corrected, layers).items() if layer.bias is not None]
    inputs = calibration.example(len(calibration))
    means: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _: Any, output: Tensor) -> None:
            means[name] = _channel_mean(layer, output)

        return hook

    def repair(name: str) -> Callable[..., Tensor]:
        def hook(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
            shift = means[name] - _channel_mean(layer, output)
            assert isinstance(layer.bias, Tensor)
            layer.bias.add_(shift)
            return output + (shift.view(1, -1, 1, 1) if isinstance(layer, nn.Conv2d) else shift)

        return hook

    exact.eval()
    with forward_hooks(exact, {name: remember(name) for name in names}):
        models.forward(exact, inputs)
    with forward_hooks(corrected, {name: repair(name) for name in names}):
        models.forward(corrected, inputs)
    return corrected


def _channel_mean(layer: nn.Module, output: Tensor) -> Tensor:
    """Mean over everything but the channels: (N, C, H, W) → (C,), or (…, C) → (C,)."""
    if isinstance(layer, nn.Conv2d):
        return output.mean(dim=(0, 2, 3))
    return output.flatten(0, -2).mean(dim=0)
