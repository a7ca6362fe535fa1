"""Running models: forward passes, devices, and the layers that are compressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.architectures.weighted_layers import weighted_layers


def call(model: nn.Module, inputs: Tensor | Mapping[str, Tensor]) -> Any:
    """Whatever ``model`` returns for a tensor, or for the named inputs of a transformers model."""
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def forward(model: nn.Module, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
    """Logits of a vision model, whose inputs are a tensor, or of a transformers model, whose inputs are a dict.

    Raises:
        ValueError: if the model returns neither a tensor, nor something with ``logits``, nor a dict with one tensor.
    """
    output = call(model, inputs)
    logits = getattr(output, "logits", output)
    if isinstance(logits, Mapping) and len(logits) == 1:
        (logits,) = logits.values()
    if not isinstance(logits, Tensor):
        kind = f"{type(logits).__name__} with {', '.join(map(str, logits))}" if isinstance(logits, Mapping) else ""
        raise ValueError(
            f"model {type(model).__name__} must return a tensor of logits, or an object with .logits, but returned a "
            f"{kind or type(logits).__name__}; wrap it in a module whose forward returns the logits"
        )
    return logits


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
    """Name → module of every layer with weights (see ``architectures.weighted_layers``), in the order of the model."""
    return weighted_layers(model)
