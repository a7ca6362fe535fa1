from __future__ import annotations

import pytest
import torch

from course_lib import models
from course_lib.data import Split


def vectors(name: str, examples: int = 96, width: int = 12) -> Split:
    """Vectors whose class is the largest of their first three entries."""
    generator = torch.Generator().manual_seed(len(name))
    inputs = torch.randn(examples, width, generator=generator)
    return Split("toy", name, inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))


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
    torch.manual_seed(0)
    arguments = {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 16,
    }  # fmt: skip
    return models.build({"builder": "bert", "arguments": arguments})
