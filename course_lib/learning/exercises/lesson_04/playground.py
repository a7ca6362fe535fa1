"""A residual network (04.3), and LeNet-300-100 with fewer neurons by L2 norm, without fine-tuning (04.6)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from course_lib import models, training
from course_lib.learning.exercises.lesson_03.playground import accuracy_before, lenet, linear_layers, split

TARGET_WORK = 0.40
TARGET_ACCURACY = 0.83
NEURONS = (300, 100)
INPUTS, CLASSES = 784, 10


@dataclass(frozen=True)
class Narrowed:
    """Remaining fraction of the multiply-accumulates, and validation accuracy before and after pruning."""

    work: float
    accuracy: float
    accuracy_before: float

    def __str__(self) -> str:
        return (
            f"{self.work:.1%} of the multiply-accumulates are left, {self.accuracy:.1%} of the validation images are "
            f"right (before pruning {self.accuracy_before:.1%})"
        )

    __repr__ = __str__


def work(first: int, second: int) -> int:
    """Multiply-accumulates of the network with these numbers of neurons."""
    return INPUTS * first + first * second + second * CLASSES


def try_widths(widths: Sequence[int]) -> Narrowed:
    """Prune a copy of the network to the most important neurons of each hidden layer, and measure it.

    Args:
        widths: number of neurons to keep, first hidden layer first.

    Raises:
        ValueError: if there are not two whole numbers, or one is out of range.
    """
    if len(widths) != len(NEURONS) or not all(type(count) is int for count in widths):
        raise ValueError(f"widths must be two whole numbers, such as (150, 50); got {widths!r}")
    for count, limit in zip(widths, NEURONS, strict=True):
        if not 1 <= count <= limit:
            raise ValueError(f"widths must lie between 1 and {NEURONS}; got {tuple(widths)}")
    return _measured(tuple(widths))


@cache
def _measured(widths: tuple[int, int]) -> Narrowed:
    narrow = models.build({"builder": "mlp", "arguments": {"sizes": [INPUTS, *widths, CLASSES]}}).eval()
    layers, kept = (
        [layer.requires_grad_(False) for layer in linear_layers(copy.deepcopy(lenet()))],
        torch.arange(INPUTS),
    )
    for index, small in enumerate(linear_layers(narrow.requires_grad_(False))):
        layer, rows = layers[index], torch.arange(small.out_features)
        if index < len(widths):
            norms = (
                torch.cat([layer.weight, layer.bias[:, None]], dim=1).norm(dim=1),
                layers[index + 1].weight.norm(dim=0),
            )
            rows = sum(one / one.mean() for one in norms).topk(small.out_features).indices.sort().values
        small.weight.copy_(layer.weight[rows][:, kept])
        small.bias.copy_(layer.bias[rows])
        kept = rows
    accuracy = training.evaluate(narrow, split("validation")).accuracy
    return Narrowed(work(*widths) / work(*NEURONS), accuracy, accuracy_before())


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
        """Logits (images, classes)."""
        stream = torch.relu(self.bn1(self.conv1(images)))
        inside = torch.relu(self.bn2(self.conv2(stream)))
        stream = torch.relu(stream + self.bn3(self.conv3(inside)))
        return self.fc(self.pool(stream).flatten(1))
