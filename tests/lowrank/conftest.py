from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import models
from course_lib.data import Split
from tests.toys import one_layer_bert, vectors


def pictures(name: str, examples: int = 24) -> Split:
    generator = torch.Generator().manual_seed(len(name))
    inputs = torch.randn(examples, 3, 8, 8, generator=generator)
    return Split("toy", name, inputs, (inputs.mean((1, 2, 3)) > 0).long(), ("a", "b"))


@pytest.fixture
def train() -> Split:
    return vectors("train")


@pytest.fixture
def validation() -> Split:
    return vectors("validation")


@pytest.fixture
def mlp() -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": [12, 40, 30, 3]}})


@pytest.fixture
def cnn() -> nn.Module:
    """Convolutions of several shapes, without a description."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    ).eval()  # fmt: skip


@pytest.fixture
def bert() -> nn.Module:
    return one_layer_bert()
