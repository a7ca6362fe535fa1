"""What exercise 06 is about, done right: the references that its checks compare with, and the network to quantize."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def fold_norm(
    weight: Tensor, bias: Tensor | None, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer that does the work of the norm behind it."""
    gain = gamma / torch.sqrt(var + eps)
    start = torch.zeros_like(mean) if bias is None else bias
    return weight * gain.view(-1, *[1] * (weight.dim() - 1)), (start - mean) * gain + beta


def integer_linear(
    x: Tensor, zero_x: int, weight: Tensor, bias: Tensor, multiplier: int, shift: int, zero_y: int
) -> Tensor:
    """uint8 in, uint8 out: int32 sums, then one multiplication and one shift."""
    sums = (x.int() - zero_x) @ weight.int().T + bias
    scaled = (sums.long() * multiplier + (1 << (shift - 1))) >> shift
    return (scaled + zero_y).clamp(0, 255).to(torch.uint8)


def moving_range(batches: list[Tensor], momentum: float) -> list[float]:
    """Exponential moving average of the smallest and the largest value of each batch."""
    low, high = batches[0].min().item(), batches[0].max().item()
    for batch in batches[1:]:
        low = (1 - momentum) * low + momentum * batch.min().item()
        high = (1 - momentum) * high + momentum * batch.max().item()
    return [low, high]


def clip_error(values: Tensor, bits: int, clip: float) -> float:
    """Mean squared error of values that are not negative, rounded to 2^bits - 1 steps from 0 to ``clip``."""
    scale = clip / (2**bits - 1)
    rounded = torch.round(values.double() / scale).clamp(0, 2**bits - 1) * scale
    return float((values.double() - rounded).square().mean())


def rounded(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` on the asymmetric 8-bit grid of a range that is widened to contain zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    zero_point = round(-low / scale)
    return scale * ((torch.round(x / scale) + zero_point).clamp(0, 255) - zero_point)


def rounded_weight(weight: Tensor) -> Tensor:
    """A weight on the symmetric 8-bit grid of each of its channels."""
    largest = weight.flatten(1).abs().amax(1)
    scale = torch.where(largest > 0, largest / 127, 1.0).view(-1, *[1] * (weight.dim() - 1))
    return scale * torch.round(weight / scale).clamp(-128, 127)


@torch.no_grad()
def quantized_copy(model: nn.Module, calibration: Sequence[Tensor]) -> nn.Module:
    """A copy whose convolution and linear layers have rounded weights and round what goes into them."""
    twin = copy.deepcopy(model).eval()
    layers = [layer for layer in twin.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    ranges: dict[int, tuple[float, float]] = {}

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        low, high = ranges.get(id(layer), (float("inf"), float("-inf")))
        ranges[id(layer)] = (min(low, inputs[0].min().item()), max(high, inputs[0].max().item()))

    handles = [layer.register_forward_pre_hook(watch) for layer in layers]
    for batch in calibration:
        twin(batch)
    for handle in handles:
        handle.remove()
    for layer in layers:
        assert isinstance(layer.weight, Tensor)
        layer.weight.copy_(rounded_weight(layer.weight))
        low, high = ranges[id(layer)]
        layer.register_forward_pre_hook(lambda one, inputs, low=low, high=high: (rounded(inputs[0], low, high),))
    return twin


class Residual(nn.Module):
    """A block that adds what came in, as in ResNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def residual_network(seed: int) -> nn.Module:
    """A small network with a nested block, dropout, and channels of different size; in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), Residual(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 5)
        )
        first = model[0]
        assert isinstance(first, nn.Conv2d)
        with torch.no_grad():
            first.weight.mul_(torch.tensor([0.1, 1.0, 3.0, 0.5]).view(-1, 1, 1, 1))
    return model.train()


def living_network(generator: torch.Generator, pictures: Tensor) -> nn.Module:
    """A ``residual_network`` in which no layer gets only zeros for these pictures: a range of 0 … 0 has no step."""
    while True:
        model = residual_network(int(torch.randint(2, 2**31, (), generator=generator)))
        first, active, block = list(model.children())[:3]
        assert isinstance(block, Residual)
        with torch.no_grad():
            inside = active(first(pictures))
            if inside.any() and block.first(inside).relu().any() and block(inside).any():
                return model


def hooks_of(model: nn.Module) -> int:
    """How many forward hooks a model carries."""
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())
