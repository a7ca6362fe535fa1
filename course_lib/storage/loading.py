"""Reading stored files: the whole model, or a record of each tensor."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import nn

from course_lib.storage.architecture_check import check_architecture, empty_model
from course_lib.storage.attached_encodings import ENCODINGS_ATTRIBUTE
from course_lib.storage.container import TensorRecord, open_container


def load(path: str | Path) -> nn.Module:
    """The stored model in eval mode with fp32 weights; nothing but the file is needed.

    Memory is bounded by the file: at most 32 bytes for each byte stored. The random generator is not used.

    Raises:
        FileNotFoundError: if there is no such file.
        FormatError: if the file is damaged, hostile, or newer than this package; the message is one line.
    """
    with open_container(Path(path)) as stored:
        check_architecture(stored.architecture, stored.shapes)
        model = empty_model(stored.architecture)
        parameters = dict(model.named_parameters(remove_duplicate=False))
        values: Any = OrderedDict()
        values._metadata = getattr(model.state_dict(), "_metadata", {})  # layers of MNASNet read their version there
        for name, owner in stored.owners.items():
            # one Parameter object under every name that shared it keeps tied weights tied
            values[name] = values[owner] if owner != name else stored.value(name)
            if name in parameters and not isinstance(values[name], nn.Parameter):
                values[name] = nn.Parameter(values[name], requires_grad=values[name].is_floating_point())
        model.load_state_dict(values, assign=True)
        encodings = {name: stored.encoded(name) for name in stored.encoded_by_a_technique()}
    if encodings:
        setattr(model, ENCODINGS_ATTRIBUTE, encodings)
    return model.eval()


def stored_bytes(path: str | Path) -> int:
    """Size of the file in bytes."""
    return Path(path).stat().st_size


def inspect(path: str | Path) -> list[TensorRecord]:
    """One record for each tensor, in the order of the model; a shared tensor has no bytes after the first time.

    Raises:
        FormatError: as ``load``.
    """
    with open_container(Path(path)) as stored:
        return [stored.record(name) for name in stored.owners]
