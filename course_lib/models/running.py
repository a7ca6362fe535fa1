"""Running models: forward passes, devices, and the layers that are compressed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def forward(model: nn.Module, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
    """Logits of a vision model, whose inputs are a tensor, or of a transformers model, whose inputs are a dict."""
    output = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    return getattr(output, "logits", output)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode within a ``with`` block; each module returns to its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def to_device(inputs: Tensor | Mapping[str, Tensor], device: torch.device | str) -> Any:
    """A tensor, or a dict of tensors, on ``device``."""
    if isinstance(inputs, Mapping):
        return {key: value.to(device) for key, value in inputs.items()}
    return inputs.to(device)


def device(choice: str = "auto") -> torch.device:
    """A torch device; ``"auto"`` is a GPU if there is one, else the CPU."""
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(choice)


def prunable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name → module of every convolution and linear layer, in the order of the model."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
