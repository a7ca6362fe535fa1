"""Tiny splits and models that several rooms are tested with."""

from __future__ import annotations

import torch
from torch import nn

from course_lib import models
from course_lib.data import Split


def vectors(name: str, examples: int = 96, width: int = 12) -> Split:
    """Vectors whose class is the largest of their first three entries."""
    generator = torch.Generator().manual_seed(len(name))
    inputs = torch.randn(examples, width, generator=generator)
    return Split("toy", name, inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))


def one_layer_bert() -> nn.Module:
    torch.manual_seed(0)
    arguments = {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 16,
    }  # fmt: skip
    return models.build({"builder": "bert", "arguments": arguments})
