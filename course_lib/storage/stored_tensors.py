"""Tensors of an open stored file on demand, whatever its container."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from course_lib.storage.encodings import ENCODINGS, Encoded, FormatError, decode


@dataclass(frozen=True)
class TensorRecord:
    """One tensor of a stored file; ``bytes`` counts its parts as stored, ``sparsity`` is the fraction of zeros.

    In a file with a ``coder`` the bytes of a tensor are its share of the stream, to the next byte.
    """

    name: str
    shape: tuple[int, ...]
    encoding: str
    dtype: str
    bytes: int
    sparsity: float
    coder: str | None = None


class StoredTensors(ABC):
    """An open file: its architecture, the shapes and owners of its tensors, and the tensors themselves."""

    architecture: Any
    shapes: dict[str, tuple[int, ...]]
    owners: dict[str, str]
    """Name → name of the tensor that is stored for it, which is its own unless it is shared."""
    coder: str | None = None

    @abstractmethod
    def encoded(self, name: str) -> Encoded:
        """The parts and facts of a tensor that is stored under its own name."""

    @abstractmethod
    def stored_bytes(self, name: str) -> int:
        """Bytes that this tensor takes in the file."""

    @abstractmethod
    def encoded_by_a_technique(self) -> list[str]:
        """Names of the tensors whose encoding only a technique can make."""

    @abstractmethod
    def check_architecture(self) -> None:
        """Raise ``FormatError`` unless the architecture builds a model with exactly the stored tensors."""

    def value(self, name: str) -> Tensor:
        """The decoded tensor, floating point as fp32."""
        try:
            tensor = decode(self.encoded(name))
        except FormatError as error:
            raise FormatError(f"tensor {name!r}: {error}") from error
        return tensor.float() if tensor.is_floating_point() else tensor

    def record(self, name: str) -> TensorRecord:
        """The record of a tensor for ``storage.inspect``."""
        owner = self.owners[name]
        encoded, tensor = self.encoded(owner), self.value(owner)
        zeros = 1 - tensor.count_nonzero().item() / tensor.numel() if tensor.numel() else 0.0
        if owner != name:
            return TensorRecord(name, encoded.shape, "shared", encoded.dtype, 0, zeros, self.coder)
        size = self.stored_bytes(name)
        return TensorRecord(name, encoded.shape, encoded.encoding, encoded.dtype, size, zeros, self.coder)


def made_by_a_technique(encoding: Any) -> bool:
    """Whether an encoding cannot be made from a tensor alone."""
    return encoding in ENCODINGS and ENCODINGS[encoding].encode is None
