"""Encodings attached to a model: how its tensors are stored when their values stand for integers or codes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib.storage.encodings import Encoded, decode

ENCODINGS_ATTRIBUTE = "course_encodings"


def set_encodings(model: nn.Module, encodings: Mapping[str, Encoded]) -> None:
    """Attach to ``model`` how its tensors are stored, in place of earlier encodings; ``{}`` removes them.

    Args:
        encodings: name in ``model.state_dict()`` → the encoded tensor; the model must hold exactly its decoded values.

    Raises:
        ValueError: if a name is unknown, or the model holds other values.
    """
    state = model.state_dict()
    for name, encoded in encodings.items():
        if name not in state:
            raise ValueError(f"encodings names {name!r}, which is no tensor of the model")
        check_values(name, state[name].cpu(), encoded)
    setattr(model, ENCODINGS_ATTRIBUTE, dict(encodings))


def encodings_of(model: nn.Module) -> dict[str, Encoded]:
    """Tensor name → encoded tensor, as attached by ``set_encodings`` or ``load``; empty for most models."""
    return dict(getattr(model, ENCODINGS_ATTRIBUTE, {}))


def check_values(name: str, tensor: Tensor, encoded: Encoded) -> None:
    """Raise ``ValueError`` unless ``tensor`` holds exactly the values that ``encoded`` decodes to."""
    if not torch.equal(decode(encoded).to(tensor.dtype), tensor):
        raise ValueError(
            f"encoding of {name!r} holds other values than the model; put the decoded ones into it, or remove the "
            "encodings with storage.set_encodings(model, {}) if the weights were changed on purpose"
        )
