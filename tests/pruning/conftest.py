from __future__ import annotations

import pytest
import torch

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
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": [12, 20, 10, 3]}})


@pytest.fixture
def bert() -> torch.nn.Module:
    return one_layer_bert()
