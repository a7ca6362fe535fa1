"""LeNet-300-100 on Fashion-MNIST, trained in seconds, and its pruning layer by layer (exercise 03.6).

Learners can import what stands here, so nothing here does what an exercise asks for, and no package of a technique is
imported.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from course_lib import assets, data, models, training
from course_lib.core.atomic_write import write_atomically
from course_lib.core.validation import check_fraction

TARGET_ZEROS = 0.85
TARGET_ACCURACY = 0.80
EPOCHS = 4


@dataclass(frozen=True)
class Measured:
    """Fraction of zeros over all weights, and validation accuracy before and after pruning."""

    zeros: float
    accuracy: float
    accuracy_before: float

    def __str__(self) -> str:
        return (
            f"{self.zeros:.1%} of the weights are zero, {self.accuracy:.1%} of the validation images are right "
            f"(before pruning {self.accuracy_before:.1%})"
        )

    __repr__ = __str__


def layer_sizes() -> tuple[int, ...]:
    """Number of weights of each of the three layers, first layer first."""
    return tuple(layer.weight.numel() for layer in linear_layers(_untrained()))


def try_sparsities(sparsities: Sequence[float]) -> Measured:
    """Prune a copy of the network by magnitude, with one sparsity per layer, and measure it.

    Args:
        sparsities: one fraction in [0, 1) per layer, first layer first.

    Raises:
        ValueError: if there are not three of them, or one is out of range.
    """
    return _measured(tuple(sparsities))


@cache
def _measured(sparsities: tuple[float, ...]) -> Measured:
    pruned = copy.deepcopy(lenet())
    weights = [layer.weight.detach().flatten() for layer in linear_layers(pruned)]
    if len(sparsities) != len(weights):
        raise ValueError(f"sparsities must have one entry per layer, {len(weights)} in all, got {len(sparsities)}")
    for weight, sparsity in zip(weights, sparsities, strict=True):
        check_fraction("sparsity", sparsity)
        weight[weight.abs().argsort(stable=True)[: round(sparsity * len(weight))]] = 0
    zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(map(len, weights))
    return Measured(zeros, training.evaluate(pruned, split("validation")).accuracy, accuracy_before())


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers, first layer first."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def _untrained() -> nn.Module:
    """Built from a fixed seed; torch's global generator is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.build({"builder": "mlp", "arguments": {"sizes": [784, 300, 100, 10]}})


@cache
def lenet() -> nn.Module:
    """The trained network; its weights are cached in the course's cache folder."""
    model, file = _untrained(), _weights_file()
    with contextlib.suppress(OSError, RuntimeError, pickle.UnpicklingError, EOFError):
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        training.fit(model, split("train"), epochs=EPOCHS, learning_rate=2e-3, progress=False, device="cpu")
    content = io.BytesIO()
    torch.save(model.state_dict(), content)
    with contextlib.suppress(OSError):
        write_atomically(file, content.getvalue())
    return model.eval()


def _weights_file() -> Path:
    """The cache file, named after a hash of everything that determines the weights except the data."""
    parts = [Path(__file__).read_bytes(), Path(training.fitting.__file__).read_bytes(), torch.__version__.encode()]
    return assets.cache_folder() / "exercise_03" / f"{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.pt"


@cache
def accuracy_before() -> float:
    """Validation accuracy of the trained network."""
    return training.evaluate(lenet(), split("validation")).accuracy


@cache
def split(name: str) -> data.Split:
    """A split of Fashion-MNIST with flattened images."""
    return data.flatten_images(getattr(data.load("fashion_mnist"), name))
