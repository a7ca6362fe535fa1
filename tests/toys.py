"""Tiny splits and models that several rooms are tested with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models, training
from course_lib.data import Split


def vectors(name: str, examples: int = 96, width: int = 12) -> Split:
    """Vectors whose class is the largest of their first three entries."""
    generator = torch.Generator().manual_seed(len(name))
    inputs = torch.randn(examples, width, generator=generator)
    return Split("toy", name, inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))


def tiny_images(name: str = "train", size: int = 7) -> Split:
    """Images of 4 × 4 pixels, each with its own first pixel."""
    images = torch.arange(size * 16, dtype=torch.uint8).reshape(size, 4, 4)
    return Split("tiny", name, images, torch.arange(size) % 2, ("a", "b"), upscale=2)


def one_layer_bert() -> nn.Module:
    torch.manual_seed(0)
    arguments = {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 16,
    }  # fmt: skip
    return models.build({"builder": "bert", "arguments": arguments})


def blobs(name: str = "train", size: int = 96, seed: int = 0) -> Split:
    """Two clouds of points that a linear model separates."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % 2
    points = torch.randn(size, 4, generator=generator) + 3.0 * labels[:, None]
    return Split("blobs", name, points, labels, ("near", "far"))


def blobs_mlp() -> nn.Module:
    """An untrained network for ``blobs``, always with the same weights."""
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": [4, 8, 2]}})


def fit_blobs(model: nn.Module, **options: Any) -> training.History:
    """Three short epochs on ``blobs``, unless ``options`` say otherwise."""
    settings = {"epochs": 3, "learning_rate": 0.02, "batch_size": 16, "progress": False, **options}
    return training.fit(model, blobs(), blobs("validation", 40, 1), **settings)


def flat_weights(model: nn.Module) -> Tensor:
    """All parameters, one after another."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
