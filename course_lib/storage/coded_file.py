"""Entropy-coded files: one stream for all tensors.

The file is a safetensors file with one part of bytes: a checksum (4 bytes), the size of the header (3 bytes), the
header (see ``coded_header``), and the stream. Names and shapes of the tensors are those of the model that the
architecture builds. The checksum covers them too, so that damage is noticed, and so is a package whose architecture has
other tensors.

A stream of a few bytes can stand for any number of symbols. Their numbers follow from the header, and are limited
before anything is decoded: a file may claim 2^22 entries, and 2^14 more for each of its bytes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as safetensors_bytes

from course_lib.storage.architecture_check import built_shapes
from course_lib.storage.arithmetic import ArithmeticReader, ArithmeticWriter
from course_lib.storage.coded_header import claimed, deflate, inflate, kind_of
from course_lib.storage.coded_parts import code_parts, decode_parts
from course_lib.storage.encodings import Encoded, FormatError
from course_lib.storage.huffman_parts import HuffmanReader, HuffmanWriter
from course_lib.storage.stored_tensors import StoredTensors, made_by_a_technique


class Coder(NamedTuple):
    """How a stream is written and read: two classes that are ``PartCoder`` each."""

    writer: Callable[[], Any]
    reader: Callable[[bytes, bool], Any]


CODED_KEY = "course-coded-1"
CODERS: dict[str, Coder] = {
    "arithmetic": Coder(ArithmeticWriter, ArithmeticReader),
    "huffman": Coder(HuffmanWriter, HuffmanReader),
}
CHECKSUM_BYTES, SIZE_BYTES = 4, 3
FREE_ENTRIES, ENTRIES_PER_BYTE = 2**22, 2**14

Shapes = Mapping[str, tuple[int, ...]]


def coded_bytes(
    architecture: Mapping[str, Any], encoded: Mapping[str, Encoded], shared: Mapping[str, str], coder: str
) -> bytes:
    """The content of a coded file.

    Args:
        encoded: the tensors that are stored under their own name.
        shared: name → name of the tensor with the same memory, for all others.

    Raises:
        ValueError: if the file could not be loaded, because it would stand for too many entries.
    """
    shapes = {name: one.shape for name, one in encoded.items()}
    shapes |= {name: shapes[owner] for name, owner in shared.items()}
    records = [
        kind_of(encoded[name]) if name in encoded else {"encoding": "shared", "with": shared[name]}
        for name in sorted(shapes)
    ]
    kinds = [record for place, record in enumerate(records) if record not in records[:place]]
    numbers = [kinds.index(record) for record in records]
    header = deflate({"architecture": architecture, "coder": coder, "kinds": kinds, "tensors": numbers})
    content = len(header).to_bytes(SIZE_BYTES, "little") + header + _stream(encoded, coder)
    payload = checksum_of(content, shapes).to_bytes(CHECKSUM_BYTES, "little") + content
    try:
        CodedContainer(payload, measured=False)
    except FormatError as error:
        raise ValueError(f"model cannot be saved with a coder, because {error}; save it with coder=None") from error
    return safetensors_bytes({CODED_KEY: torch.frombuffer(bytearray(payload), dtype=torch.uint8)})


def checksum_of(content: bytes, shapes: Shapes) -> int:
    """CRC-32 of the content behind the checksum, and of the names and shapes of the tensors."""
    described = json.dumps([[name, list(shapes[name])] for name in sorted(shapes)], separators=(",", ":"))
    return zlib.crc32(content, zlib.crc32(described.encode()))


def _stream(encoded: Mapping[str, Encoded], coder: str) -> bytes:
    writer = CODERS[coder].writer()
    for name in sorted(encoded):
        code_parts(writer, encoded[name])
    return writer.finish()


class CodedSize(NamedTuple):
    """What an entropy-coded file consists of, in bytes."""

    coder: str
    header: int
    """Checksum and header; the container of safetensors comes on top."""
    stream: int
    """All parts of all tensors, with the tables of a Huffman code."""
    ideal: float
    """What the stream would take if each symbol cost exactly -log2(its probability): the adaptive one of the arithmetic
    coder, or the frequency of a Huffman symbol in its table."""


class CodedContainer(StoredTensors):
    """An open coded file: the checked header; all tensors are decoded when the first is asked for."""

    coder: str

    def __init__(self, payload: bytes, *, measured: bool) -> None:
        start = CHECKSUM_BYTES + SIZE_BYTES
        size = int.from_bytes(payload[CHECKSUM_BYTES:start], "little")
        if len(payload) < start + size:
            raise FormatError(f"it has {len(payload):,} bytes, fewer than its header takes")
        header = inflate(payload[start : start + size])
        self.architecture, self.coder = header["architecture"], header["coder"]
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
        self._stream, self._measured = payload[start + size :], measured
        self._encoded: dict[str, Encoded] = {}
        self._bits: dict[str, float] = {}
        self.size = CodedSize(self.coder, start + size, len(self._stream), math.nan)

    def encoded(self, name: str) -> Encoded:
        """The parts and facts of a tensor that is stored under its own name."""
        if not self._encoded:
            self._decode()
        return self._encoded[name]

    def _decode(self) -> None:
        reader = CODERS[self.coder].reader(self._stream, self._measured)
        encoded = {}
        for name, claim in self._claims.items():
            before = reader.bits
            try:
                encoded[name] = decode_parts(reader, claim)
            except FormatError as error:
                raise FormatError(f"tensor {name!r}: {error}") from error
            self._bits[name] = reader.bits - before
        reader.finish()
        self._encoded = encoded
        self.size = self.size._replace(ideal=reader.ideal_bits / 8)

    def stored_bytes(self, name: str) -> int:
        """Share of a tensor in the stream."""
        return math.ceil(self._bits[name] / 8)

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
