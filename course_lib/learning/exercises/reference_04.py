"""What exercise 04 is about, done right: the references that its checks compare with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

STEM = ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var")
PIXELS = 4


class ResidualNet(nn.Module):
    """A first convolution, one residual block, a pooling to 2 × 2 pixels and a linear layer."""

    def __init__(self, stem: int = 8, inner: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem)
        self.conv2, self.bn2 = nn.Conv2d(stem, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(2), nn.Linear(stem * PIXELS, classes)

    def forward(self, images: Tensor) -> Tensor:
        stream = torch.relu(self.bn1(self.conv1(images)))
        inside = torch.relu(self.bn2(self.conv2(stream)))
        stream = torch.relu(stream + self.bn3(self.conv3(inside)))
        return self.fc(self.pool(stream).flatten(1))


def channel_scores(producer: Tensor, consumer: Tensor) -> Tensor:
    """Mean of two votes per channel, each an L2 norm divided by the mean of its layer."""
    rows = producer.flatten(1).norm(dim=1)
    columns = consumer.transpose(0, 1).flatten(1).norm(dim=1)
    return (_mean_one(rows) + _mean_one(columns)) / 2


def channels_to_keep(scores: Tensor, ratio: float, multiple: int) -> list[int]:
    """Indices of the best channels, in increasing order; their number is the nearest multiple, and never none."""
    count = multiple * math.floor(ratio * len(scores) / multiple + 0.5)
    count = min(len(scores), max(multiple, count))
    order = sorted(range(len(scores)), key=lambda channel: (-float(scores[channel]), channel))
    return sorted(order[:count])


def shrink(state: dict[str, Tensor], stem: list[int], inner: list[int]) -> dict[str, Tensor]:
    """The state of a ``ResidualNet`` with these channels left in the stream and within the block."""
    pixels = [channel * PIXELS + pixel for channel in stem for pixel in range(PIXELS)]
    small = {}
    for name, tensor in state.items():
        layer = name.split(".")[0]
        if tensor.dim() == 0 or name == "fc.bias":
            small[name] = tensor
        elif layer in ("conv1", "bn1", "bn3"):
            small[name] = tensor[stem]
        elif layer == "bn2":
            small[name] = tensor[inner]
        else:
            rows, columns = {"conv2": (inner, stem), "conv3": (stem, inner), "fc": (None, pixels)}[layer]
            small[name] = (tensor if rows is None else tensor[rows])[:, columns]
    return small


def keep_heads(layer: dict[str, Tensor], heads: int, keep: list[int]) -> dict[str, Tensor]:
    """Query, key and value lose blocks of rows, the output layer the same blocks of columns."""
    size = layer["query.weight"].shape[0] // heads
    places = [head * size + offset for head in keep for offset in range(size)]
    small = {}
    for name, tensor in layer.items():
        if not name.startswith("output"):
            small[name] = tensor[places]
        else:
            small[name] = tensor[:, places] if name == "output.weight" else tensor
    return small


def two_four_mask(weight: Tensor) -> Tensor:
    """True for the two largest magnitudes of every four neighbours in a row; of equals the left one stays."""
    order = weight.abs().reshape(len(weight), -1, 4).argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros(order.shape, dtype=torch.bool).scatter(-1, order[..., :2], True)
    return mask.reshape(weight.shape)


def _mean_one(values: Tensor) -> Tensor:
    return values / values.mean() if values.mean() > 0 else torch.ones_like(values)
