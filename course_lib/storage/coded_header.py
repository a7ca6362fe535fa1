"""The header of an entropy-coded file: JSON, deflated, with only what does not follow from the architecture.

``{"architecture": …, "coder": …, "kinds": [kind, …], "tensors": [number of its kind, …]}``, tensors in the order of
their names. A kind is ``{"encoding", "dtype", facts …, "parts": {name: dtype or [dtype, *shape]}}``: a part without a
shape has the number of entries that follows from the tensor, and the part that is coded as levels is not mentioned.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from course_lib.storage.coded_parts import LEVEL_PARTS, natural_sizes
from course_lib.storage.encodings import DTYPE_NAMES, DTYPES, ENCODINGS, Encoded, FormatError

MAX_HEADER = 2**20
MAX_TENSORS, MAX_PARTS, MAX_DIMENSIONS = 2**14, 16, 8
TYPICAL_HEADER = (
    b'"folds":[["conv1","bn1"],["layer1.0.conv1","layer1.0.bn1"],["layer1.0.conv2","layer1.0.bn2"],'
    b'["stages.0.0.first.0","stages.0.0.first.1"],["stages.0.0.second.0","stages.0.0.second.1"],'
    b'["stages.0.0.shortcut.0","stages.0.0.shortcut.1"],["stem.0","stem.1"]],"num_classes":10,'
    b'"removed":["layer1.1"],"widths":{"attention_probs_dropout_prob":0.1,"hidden_size":384,"intermediate_size":1536,'
    b'"max_position_embeddings":512,"num_attention_heads":12,"num_hidden_layers":6,"num_labels":2,"vocab_size":30522,'
    b'{"encoding":"codebook","dtype":"fp32","bits":4,"group":64,"axis":0,"parts":{"scales":"fp32","table":["fp32",16]}}'
    b'{"encoding":"packed","dtype":"fp32","bits":8,"group":64,"axis":0,"parts":{"scales":"fp16","zero_points":"uint8"}}'
    b'{"encoding":"bitmask","dtype":"fp16","parts":{"values":["fp16",123]}},{"encoding":"shared","with":"'
    b'{"architecture":{"arguments":{"blocks":[1,1,1],"channels":[16,16,32],"depthwise":false,"num_classes":10,'
    b'"shrink":2,"stem_stride":2},"builder":"small_resnet"},"builder":"resnet18"},"coder":"arithmetic","kinds":['
    b'{"encoding":"dense","dtype":"int64","parts":{"":"int64"}},{"encoding":"dense","dtype":"fp16","parts":{"":"fp16"}},'
    b'{"encoding":"uniform","dtype":"fp32","parts":{"steps":["fp32",1]}},'
    b'{"encoding":"uniform","dtype":"fp32","parts":{"steps":"fp16"}}],"tensors":[0,1,0,1,0,1]}'
)
"""What headers look like: the dictionary with which they are deflated. It is part of the format."""


def deflate(header: Mapping[str, Any]) -> bytes:
    """A header as deflated JSON."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zdict=TYPICAL_HEADER)
    return squeezer.compress(text) + squeezer.flush()


def inflate(content: bytes) -> dict[str, Any]:
    """The inverse of ``deflate``.

    Raises:
        FormatError: if it is damaged, larger than 1 MiB, or no such JSON.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=TYPICAL_HEADER)
    try:
        text = inflater.decompress(content, MAX_HEADER)
    except zlib.error as error:
        raise FormatError(f"its header cannot be inflated ({error})") from error
    if not inflater.eof or inflater.unused_data:
        raise FormatError(f"its header ends too late or has more than {MAX_HEADER:,} characters")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"its header is not JSON ({error})") from error
    kinds, numbers = (header.get(key) for key in ("kinds", "tensors")) if isinstance(header, dict) else (None, None)
    if not (isinstance(kinds, list) and all(isinstance(kind, dict) for kind in kinds) and isinstance(numbers, list)):
        raise FormatError("its header has no table of tensors")
    if len(numbers) > MAX_TENSORS:
        raise FormatError(f"its header has {len(numbers):,} tensors; allowed are {MAX_TENSORS:,}")
    if header.get("coder") not in ("arithmetic", "huffman"):
        raise FormatError(f"its coder {header.get('coder')!r} is unknown here (known: arithmetic, huffman)")
    if not all(type(number) is int and 0 <= number < len(kinds) for number in numbers):
        raise FormatError("its header names a kind of tensor that is not in it")
    return header


def kind_of(encoded: Encoded) -> dict[str, Any]:
    """What the header says about a tensor."""
    natural, level_part = natural_sizes(encoded), LEVEL_PARTS.get(encoded.encoding)
    parts = {}
    for name, part in sorted(encoded.parts.items()):
        if level_part is None or name != level_part.name:
            dtype = DTYPE_NAMES[part.dtype]
            parts[name] = dtype if _natural_shape(encoded, natural.get(name)) == part.shape else [dtype, *part.shape]
    return {"encoding": encoded.encoding, "dtype": encoded.dtype, **encoded.facts, "parts": parts}


def claimed(kind: Mapping[str, Any], shape: tuple[int, ...]) -> Encoded:
    """The tensor that a kind and a shape promise; its parts are on the ``meta`` device, without memory.

    Raises:
        FormatError: if the kind is impossible.
    """
    parts = kind.get("parts")
    if kind.get("dtype") not in tuple(DTYPES) or not isinstance(kind.get("encoding"), str):
        raise FormatError("it has an unknown dtype or encoding")
    if kind["encoding"] not in ENCODINGS:
        raise FormatError(f"its encoding {kind['encoding']!r} is unknown here (known: {', '.join(ENCODINGS)})")
    if not isinstance(parts, dict) or len(parts) > MAX_PARTS:
        raise FormatError(f"it has no table of at most {MAX_PARTS} parts")
    facts = {key: value for key, value in kind.items() if key not in ("encoding", "dtype", "parts")}
    bare = Encoded(kind["encoding"], kind["dtype"], shape, {}, facts)
    natural = natural_sizes(bare)
    return Encoded(
        bare.encoding, bare.dtype, shape,
        {name: _claimed_part(claim, _natural_shape(bare, natural.get(name))) for name, claim in parts.items()}, facts,
    )  # fmt: skip


def _claimed_part(claim: Any, natural: tuple[int, ...] | None) -> Tensor:
    dtype, shape = (claim[0], tuple(claim[1:])) if isinstance(claim, list) and claim else (claim, natural)
    if not isinstance(dtype, str) or dtype not in DTYPES or shape is None or len(shape) > MAX_DIMENSIONS:
        raise FormatError("one of its parts has an unknown dtype, or no shape")
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape) or math.prod(shape) >= 2**31:
        raise FormatError("one of its parts has an impossible shape")
    return torch.empty(shape, dtype=DTYPES[dtype], device="meta")


def _natural_shape(encoded: Encoded, size: int | None) -> tuple[int, ...] | None:
    """Shape of a part with the number of entries that follows from its tensor; that of a dense tensor is its own."""
    return None if size is None else encoded.shape if encoded.encoding == "dense" else (size,)
