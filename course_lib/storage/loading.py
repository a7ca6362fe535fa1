"""Reading stored files: the whole model, or a record of each tensor."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from course_lib.storage.architecture_check import empty_model
from course_lib.storage.attached_encodings import ENCODINGS_ATTRIBUTE
from course_lib.storage.coded_file import CodedContainer, CodedSize
from course_lib.storage.container import open_container
from course_lib.storage.stored_tensors import TensorRecord


def load(path: str | Path) -> nn.Module:
    """The stored model in eval mode with fp32 weights; nothing but the file is needed.

    Memory is bounded by the file: at most 32 bytes for each byte stored without a coder, and with one for the number of
    entries that its size allows (see ``coded_file``). The random generator is not used.

    Raises:
        FileNotFoundError: if there is no such file.
        FormatError: if the file is damaged, hostile, or newer than this package; the message is one line.
    """
    with open_container(Path(path)) as stored:
        stored.check_architecture()
        model = empty_model(stored.architecture)
        parameters = dict(model.named_parameters(remove_duplicate=False))
        values: dict[str, Tensor] = {}
        for name, owner in sorted(stored.owners.items(), key=lambda pair: pair[0] != pair[1]):  # owners first
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
    with open_container(Path(path), measured=True) as stored:
        return [stored.record(name) for name in stored.owners]


def coded_size(path: str | Path) -> CodedSize:
    """The bytes of an entropy-coded file, beside the ideal code length of its coder's own probabilities.

    Raises:
        ValueError: if the file was saved without a coder.
        FormatError: as ``load``.
    """
    with open_container(Path(path), measured=True) as stored:
        if not isinstance(stored, CodedContainer):
            raise ValueError(f"path {str(path)!r} must be a file saved with a coder, for example coder='arithmetic'")
        for name in set(stored.owners.values()):
            stored.encoded(name)
        return stored.size
