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


class ResidualBlock(nn.Module):
    """A residual block, as in ResNet: the same ReLU twice."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inner + x)


class SmallConvolutional(nn.Module):
    """Convolutions with BatchNorm, a residual connection, a linear layer."""

    def __init__(self, classes=10, channels=8):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.block = ResidualBlock(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc(self.block(self.relu(self.bn(self.conv(x)))).mean(dim=(2, 3)))


models.builder("small_convolutional")(SmallConvolutional)


def small_convolutional() -> nn.Module:
    """With norms that do something, and channels of different sizes."""
    torch.manual_seed(0)
    model = models.build({"builder": "small_convolutional", "arguments": {"classes": 10}})
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.3, 3).mul_(torch.tensor([-1.0, *[1.0] * 7]))
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.2, 2)
    return model
