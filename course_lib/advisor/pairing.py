"""Layers of a model and of its compressed form, side by side, and swapping one for the other."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.batchnorm_folding import fold_batchnorm
from course_lib.models.hooks import forward_hooks

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Pair:
    """Copies of both models, which may be swapped in, and the names of the layers that correspond.

    Args:
        exact: the original, with BatchNorm folded if the compressed model has it folded.
        names: layer of ``exact`` → layer of ``compressed``, in the order of the model.
    """

    exact: nn.Module
    compressed: nn.Module
    names: Mapping[str, str]


def pair(original: nn.Module, compressed: nn.Module) -> Pair:
    """Match convolutions, linear layers, embeddings and norms of both models by name.

    Names of the compressed model may have a prefix, as in a module that wraps it.

    Raises:
        ValueError: if no layer of one is found in the other, because it was pruned to other shapes or factorized.
    """
    exact = fold_batchnorm(original) if _is_folded(original, compressed) else copy.deepcopy(original)
    ours, theirs = _layers(exact), _layers(compressed)
    prefix = next((name.removesuffix(first) for first in ours for name in theirs if name.endswith(first)), "")
    names = {name: prefix + name for name in ours if _same(ours[name], theirs.get(prefix + name))}
    if not names:
        raise ValueError(
            f"compressed has no layer with the name and shape of one of original ({type(original).__name__}); "
            "compare models of the same shape, for example before and after quantization"
        )
    return Pair(exact.eval(), copy.deepcopy(compressed).eval(), names)


def _is_folded(original: nn.Module, compressed: nn.Module) -> bool:
    """Whether norms of the original are folded into their layers in the compressed model."""
    there = [
        module for name, module in compressed.named_modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)
    ]
    return not there and any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) for module in original.modules())


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    weighted = models.prunable_layers(model)
    return {
        name: module for name, module in model.named_modules()
        if name in weighted or isinstance(module, (*NORMS, nn.Embedding))
    }  # fmt: skip


def _same(one: nn.Module, other: nn.Module | None) -> bool:
    shapes = [None if it is None else getattr(it, "weight", torch.empty(0)).shape for it in (one, other)]
    return shapes[0] == shapes[1]


@contextmanager
def swapped(model: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """``model`` with other modules in the place of some layers, within the ``with`` block."""
    before = {name: model.get_submodule(name) for name in layers}
    try:
        for name, layer in layers.items():
            model.set_submodule(name, layer)
        yield model
    finally:
        for name, layer in before.items():
            model.set_submodule(name, layer)


@torch.no_grad()
def calls(model: nn.Module, names: list[str], inputs: Any) -> dict[str, tuple[tuple[Any, ...], Any, Tensor]]:
    """Layer → positional and named inputs, before any input grid, and the output, of its latest call."""
    found: dict[str, tuple[tuple[Any, ...], Any, Tensor]] = {}
    received: dict[str, tuple[Any, Any]] = {}
    wrapped = {name: Recorder(model.get_submodule(name), name, received) for name in names}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            found[name] = (*received[name], output)

        return hook

    with models.evaluating(model), swapped(model, wrapped), forward_hooks(model, {name: keep(name) for name in names}):
        models.forward(model, inputs)
    return found


class Recorder(nn.Module):
    """A layer that notes what it is called with; its own hooks run as before."""

    def __init__(self, layer: nn.Module, name: str, received: dict[str, tuple[Any, Any]]) -> None:
        super().__init__()
        self.inner = [layer]
        self.name, self.received = name, received

    def __getattr__(self, key: str) -> Any:
        """Attributes of the layer, which other modules may read (such as ``weight``)."""
        try:
            return super().__getattr__(key)
        except AttributeError:
            return getattr(self.inner[0], key)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Note the inputs and call the layer."""
        self.received[self.name] = (args, kwargs)
        return self.inner[0](*args, **kwargs)
