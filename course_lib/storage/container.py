"""Reading an untrusted stored file: the checked header, and its tensors on demand."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from course_lib.storage.architecture_check import check_architecture
from course_lib.storage.coded_file import CODED_KEY, CodedContainer
from course_lib.storage.encodings import DTYPES, Encoded, FormatError
from course_lib.storage.stored_tensors import StoredTensors, made_by_a_technique

FORMAT_VERSION = 1
HEADER_KEY = "course"
PART_SEPARATOR = "#"
MAX_HEADER = 16 * 2**20
MAX_DIMENSIONS, MAX_DIMENSION = 8, 2**31
STORED_DTYPES = {
    "F32": torch.float32, "F16": torch.float16, "I64": torch.int64, "I32": torch.int32, "I16": torch.int16,
    "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@contextlib.contextmanager
def open_container(path: Path, *, measured: bool = False) -> Iterator[StoredTensors]:
    """Open a stored file; any error in its content becomes a ``FormatError`` with the name of the file.

    ``measured`` counts what each tensor takes in an entropy-coded file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"path {str(path)!r} is not a file; a stored model is made by storage.save")
    try:
        with safe_open(path, framework="pt") as checked:  # proves that the parts lie within the file, end to end
            metadata, keys = checked.metadata(), list(checked.keys())
        with path.open("rb") as stream:
            plain = Container(stream, metadata) if keys != [CODED_KEY] or metadata else None
            yield plain or CodedContainer(_only_part(stream), measured=measured)
    except (FormatError, SafetensorError) as error:
        raise FormatError(f"{path.name} cannot be loaded: {str(error).splitlines()[0]}") from error


def _only_part(stream: BufferedReader) -> bytes:
    """The bytes behind the safetensors header of an open file."""
    (size,) = struct.unpack("<Q", stream.read(8))
    stream.seek(8 + size)
    return stream.read()


class Container(StoredTensors):
    """An open file: the checked header, and its tensors on demand.

    Parts are read, not memory-mapped: a mapped file counts as memory twice, and cannot be replaced on Windows.
    """

    def __init__(self, stream: BufferedReader, metadata: Mapping[str, str] | None) -> None:
        header = _header(metadata)
        self.architecture = header["architecture"]
        self._records: dict[str, dict[str, Any]] = header["tensors"]
        self.owners = {name: _owner(name, self._records) for name in self._records}
        own = {name: record for name, record in self._records.items() if self.owners[name] == name}
        own_shapes = {name: _shape(name, record) for name, record in own.items()}
        self.shapes = {name: own_shapes[owner] for name, owner in self.owners.items()}
        self._stream = stream
        (size,) = struct.unpack("<Q", stream.read(8))
        self._entries: dict[str, dict[str, Any]] = json.loads(stream.read(size))
        self._entries.pop("__metadata__")
        self._start = 8 + size
        self._parts: dict[str, dict[str, str]] = {name: {} for name in own}
        for key in self._entries:
            base, _, part = (key, "", "") if key in own else key.rpartition(PART_SEPARATOR)
            if base not in own:
                raise FormatError(f"it holds {key!r}, which its header does not mention")
            self._parts[base][part] = key

    def _read(self, key: str) -> Tensor:
        """One part, copied into memory."""
        entry = self._entries[key]
        if entry["dtype"] not in STORED_DTYPES:
            raise FormatError(f"its part is stored as {entry['dtype']}, which no encoding uses")
        begin, end = entry["data_offsets"]
        self._stream.seek(self._start + begin)
        content = bytearray(end - begin)
        if self._stream.readinto(content) != end - begin:
            raise FormatError("the file was changed while it was read")
        dtype = STORED_DTYPES[entry["dtype"]]
        return (torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)).view(entry["shape"])

    def encoded(self, name: str) -> Encoded:
        """The parts and facts of a tensor that is stored under its own name."""
        record = self._records[name]
        parts = {part: self._read(key) for part, key in self._parts[name].items()}
        facts = {key: value for key, value in record.items() if key not in ("encoding", "dtype", "shape")}
        return Encoded(record["encoding"], record["dtype"], self.shapes[name], parts, facts)

    def stored_bytes(self, name: str) -> int:
        """Bytes of all parts of this tensor."""
        return self.encoded(name).bytes

    def encoded_by_a_technique(self) -> list[str]:
        """Names of the tensors whose encoding only a technique can make."""
        return [name for name, record in self._records.items() if made_by_a_technique(record["encoding"])]

    def check_architecture(self) -> None:
        """Raise ``FormatError`` unless the architecture builds a model with exactly the stored tensors."""
        check_architecture(self.architecture, self.shapes)


def _header(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    text = (metadata or {}).get(HEADER_KEY)
    if text is None:
        raise FormatError("it is a safetensors file, but not one that storage.save wrote (no course header)")
    if len(text) > MAX_HEADER:
        raise FormatError(f"its header has {len(text):,} characters; allowed are {MAX_HEADER:,}")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"its header is not JSON ({error})") from error
    version = header.get("format") if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        raise FormatError(f"its format version is {version!r}; this package reads version {FORMAT_VERSION}")
    records = header.get("tensors")
    if not (isinstance(records, dict) and all(isinstance(record, dict) for record in records.values())):
        raise FormatError("its header has no table of tensors")
    return {"architecture": header.get("architecture"), "tensors": records}


def _owner(name: str, records: Mapping[str, Mapping[str, Any]]) -> str:
    if records[name].get("encoding") != "shared":
        return name
    owner = records[name].get("with")
    if not isinstance(owner, str) or records.get(owner, {}).get("encoding", "shared") == "shared":
        raise FormatError(f"tensor {name!r} is said to share memory with {owner!r}, which is not stored")
    return owner


def _shape(name: str, record: Mapping[str, Any]) -> tuple[int, ...]:
    shape = record.get("shape")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise FormatError(f"tensor {name!r} has no shape of at most {MAX_DIMENSIONS} dimensions")
    if not all(type(size) is int and 0 <= size < MAX_DIMENSION for size in shape):
        raise FormatError(f"tensor {name!r} has an impossible shape")
    if record.get("dtype") not in tuple(DTYPES) or not isinstance(record.get("encoding"), str):
        raise FormatError(f"tensor {name!r} has an unknown dtype or encoding")
    return tuple(shape)
