from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import models
from course_lib.data import Split
from tests.toys import one_layer_bert, vectors


@pytest.fixture
def train() -> Split:
    return vectors("train")


@pytest.fixture
def validation() -> Split:
    return vectors("validation")


@pytest.fixture
def test_split() -> Split:
    return vectors("test")


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": [12, 20, 10, 3]}})


@pytest.fixture
def bert() -> nn.Module:
    return one_layer_bert()


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "resnet18", "arguments": {"num_classes": 10}})


@pytest.fixture
def images() -> Split:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (32, 16, 16), generator=generator, dtype=torch.uint8)
    return Split("toy", "train", pictures, torch.arange(32) % 10, tuple("abcdefghij"))
