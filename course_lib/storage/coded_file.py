"""Entropy-coded files: one stream for all tensors.

The file is a safetensors file with one part of bytes: a checksum (4 bytes), the size of the header (3 bytes), the
header (see ``coded_header``), and the stream. Names and shapes of the tensors are those of the model that the
architecture builds. The checksum covers them too, so that damage is noticed, and so is a package whose architecture has
other tensors.

A stream of a few bytes can stand for any number of symbols. Their numbers follow from the header, and are limited
before anything is decoded: a file may claim 2^24 entries, and 4,096 more for each of its bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes

from course_lib.storage.architecture_check import built_shapes
from course_lib.storage.arithmetic import ArithmeticCoder
from course_lib.storage.coded_header import claimed, deflate, inflate, kind_of
from course_lib.storage.coded_parts import code_parts, decode_parts
from course_lib.storage.encodings import Encoded, FormatError
from course_lib.storage.range_coding import Decoder, Encoder, LengthCounter
from course_lib.storage.stored_tensors import StoredTensors, made_by_a_technique

CODED_KEY = "course-coded-1"
CODERS = ("arithmetic",)
CHECKSUM_BYTES, SIZE_BYTES = 4, 3
FREE_ENTRIES, ENTRIES_PER_BYTE = 2**24, 4096

Shapes = Mapping[str, tuple[int, ...]]


def coded_bytes(
    architecture: Mapping[str, Any], encoded: Mapping[str, Encoded], shared: Mapping[str, str], coder: str
) -> bytes:
    """The content of a coded file.

    Args:
        encoded: the tensors that are stored under their own name.
        shared: name → name of the tensor with the same memory, for all others.
    """
    shapes = {name: one.shape for name, one in encoded.items()}
    shapes |= {name: shapes[owner] for name, owner in shared.items()}
    kinds: list[dict[str, Any]] = []
    for name in sorted(shapes):
        kind = kind_of(encoded[name]) if name in encoded else {"encoding": "shared", "with": shared[name]}
        kinds.append(kind)
    distinct = [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]]
    numbers = [distinct.index(kind) for kind in kinds]
    header = deflate({"architecture": architecture, "kinds": distinct, "tensors": numbers})
    content = len(header).to_bytes(SIZE_BYTES, "little") + header + _stream(encoded)
    checksum = checksum_of(content, shapes).to_bytes(CHECKSUM_BYTES, "little")
    payload = torch.frombuffer(bytearray(checksum + content), dtype=torch.uint8)
    return safetensors_bytes({CODED_KEY: payload})


def checksum_of(content: bytes, shapes: Shapes) -> int:
    """CRC-32 of the content behind the checksum, and of the names and shapes of the tensors."""
    described = json.dumps([[name, list(shapes[name])] for name in sorted(shapes)], separators=(",", ":"))
    return zlib.crc32(content, zlib.crc32(described.encode()))


def _stream(encoded: Mapping[str, Encoded]) -> bytes:
    symbols = Encoder()
    parts = ArithmeticCoder(symbols)
    for name in sorted(encoded):
        code_parts(parts, encoded[name])
    return symbols.finish()


class CodedContainer(StoredTensors):
    """An open coded file: the checked header; all tensors are decoded when the first is asked for."""

    coder = "arithmetic"

    def __init__(self, payload: bytes) -> None:
        start = CHECKSUM_BYTES + SIZE_BYTES
        size = int.from_bytes(payload[CHECKSUM_BYTES:start], "little")
        if len(payload) < start + size:
            raise FormatError(f"it has {len(payload):,} bytes, fewer than its header takes")
        header = inflate(payload[start : start + size])
        self.architecture = header["architecture"]
        self.shapes = built_shapes(self.architecture, len(header["tensors"]))
        if int.from_bytes(payload[:CHECKSUM_BYTES], "little") != checksum_of(payload[CHECKSUM_BYTES:], self.shapes):
            raise FormatError("its checksum differs: it is damaged, or its architecture has other tensors here")
        if len(self.shapes) != len(header["tensors"]):
            raise FormatError(f"its architecture has {len(self.shapes)} tensors, it stores {len(header['tensors'])}")
        records = {
            name: header["kinds"][number] for name, number in zip(sorted(self.shapes), header["tensors"], strict=True)
        }
        self.owners = {name: _owner(name, records, self.shapes) for name in self.shapes}
        self._claims = {
            name: _claim(name, records[name], self.shapes[name]) for name in sorted(set(self.owners.values()))
        }
        _check_entries(self._claims, len(payload))
        self._stream = payload[start + size :]
        self._encoded: dict[str, Encoded] = {}
        self._bits: dict[str, float] = {}

    def encoded(self, name: str) -> Encoded:
        """The parts and facts of a tensor that is stored under its own name."""
        if not self._encoded:
            self._decode()
        return self._encoded[name]

    def _decode(self) -> None:
        symbols = Decoder(self._stream)
        length = LengthCounter(symbols)
        parts = ArithmeticCoder(length)
        for name, claim in self._claims.items():
            before = length.bits
            try:
                self._encoded[name] = decode_parts(parts, claim)
            except FormatError as error:
                self._encoded = {}
                raise FormatError(f"tensor {name!r}: {error}") from error
            self._bits[name] = length.bits - before
        symbols.finish()

    def stored_bytes(self, name: str) -> int:
        """Share of a tensor in the stream: its ideal code length."""
        return -int(-self._bits[name] // 8)

    def encoded_by_a_technique(self) -> list[str]:
        """Names of the tensors whose encoding only a technique can make."""
        return [name for name, claim in self._claims.items() if made_by_a_technique(claim.encoding)]

    def check_architecture(self) -> None:
        """Nothing: names and shapes are those that the architecture has."""


def _claim(name: str, record: Mapping[str, Any], shape: tuple[int, ...]) -> Encoded:
    try:
        return claimed(record, shape)
    except FormatError as error:
        raise FormatError(f"tensor {name!r}: {error}") from error


def _owner(name: str, records: Mapping[str, Mapping[str, Any]], shapes: Shapes) -> str:
    if records[name].get("encoding") != "shared":
        return name
    owner = records[name].get("with")
    if not isinstance(owner, str) or records.get(owner, {}).get("encoding", "shared") == "shared":
        raise FormatError(f"tensor {name!r} is said to share memory with {owner!r}, which is not stored")
    if shapes[owner] != shapes[name]:
        raise FormatError(f"tensor {name!r} is said to share memory with {owner!r}, which has another shape")
    return owner


def _check_entries(claims: Mapping[str, Encoded], size: int) -> None:
    """Refuse claims of more entries than a file of ``size`` bytes may have."""
    limit = FREE_ENTRIES + ENTRIES_PER_BYTE * size
    entries = sum(claim.elements + sum(part.numel() for part in claim.parts.values()) for claim in claims.values())
    if entries > limit:
        raise FormatError(f"it claims {entries:,} entries; allowed for its {size:,} bytes are {limit:,}")
