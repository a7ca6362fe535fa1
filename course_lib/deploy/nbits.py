"""Export of packed models to ONNX Runtime's n-bit kernel, ``MatMulNBits``: few bits on disk and while they compute.

The graph is that of ``profiling.export_onnx``. Each constant that holds the decoded values of a packed weight is
replaced by the codes, scales and zero-points of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from torch import nn

from course_lib import profiling, storage
from course_lib.core.validation import check_choice
from course_lib.deploy.block_weights import BlockWeight, block_weight, packed_matrices
from course_lib.deploy.packed_graph import PackedGraph
from course_lib.profiling.counting import Inputs
from course_lib.storage import Encoded

ACCURACY_LEVELS = (0, 4)
DEFAULT_LEVEL = 4
PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def export_nbits(
    model: nn.Module,
    example: Inputs,
    file: str | Path,
    *,
    accuracy_level: int = DEFAULT_LEVEL,
    beside: bool = False,
) -> profiling.Deployed:
    """Write a model with packed weights (of RTN, GPTQ or AWQ) as an ONNX file that multiplies by its codes.

    Args:
        model: from ``quantization`` or ``storage.load``, with weights of 2, 4 or 8 bits.
        example: inputs to trace the model with, such as ``split.example(1)``.
        accuracy_level: 0 multiplies in fp32; 4 rounds the inputs of each product to 8 bits, per block, and multiplies
            in integers.
        beside: weights in ``FILE.data`` instead of in the file; ``stored_bytes`` counts both.

    Raises:
        ValueError: if the model has no packed weights, ``accuracy_level`` is unknown, the kernel does not take the bits
            or the groups of a weight, or a weight is not read by a matrix product or a look-up.
    """
    check_choice("accuracy_level", accuracy_level, ACCURACY_LEVELS)
    encoded = packed_matrices(model)
    weights = {name: block_weight(name, it) for name, it in encoded.items()}
    names = names_by_values(encoded)
    graph = PackedGraph(profiling.export_onnx(model, example), accuracy_level)
    replaced = {_append(graph, node, names, weights) for node in graph.source}
    values = {name: matrix_digest(it) for name, it in encoded.items()}
    if missing := [name for name in encoded if names[values[name]] not in replaced]:
        raise ValueError(
            f"weight {missing[0]!r} is read by no matrix product and no look-up of the exported graph, so MatMulNBits "
            "cannot take its codes; leave it unquantized, or export it with profiling.export_onnx"
        )
    return profiling.Deployed(graph.write(file, beside=beside), model)


def names_by_values(encoded: Mapping[str, Encoded]) -> dict[bytes, str]:
    """Digest of the values ``(N, K)`` → first weight that has them: tied weights are stored once."""
    names: dict[bytes, str] = {}
    for name, it in encoded.items():
        names.setdefault(matrix_digest(it), name)
    return names


def matrix_digest(encoded: Encoded) -> bytes:
    """Digest of the decoded values of a packed matrix, as ``(N, K)``."""
    values = storage.decode(encoded).numpy()
    return _digest(values if encoded.facts["axis"] == 0 else values.T)


def _append(
    graph: PackedGraph, node: Any, names: Mapping[bytes, str], weights: Mapping[str, BlockWeight]
) -> str | None:
    """Append a node; if it reads a packed weight, the one that reads its codes, and return the name of the weight."""
    place, transposed = _weight_input(node)
    constant = graph.constants.get(node.input[place]) if place >= 0 else None
    if constant is None or constant.ndim != 2:
        graph.keep(node, {})
        return None
    name = names.get(_digest(constant.T if transposed else constant))
    if name is None:
        graph.keep(node, {})
    elif node.op_type == "Gather":
        graph.rows(node.input[1], name, weights[name], node.output[0])
    else:
        bias = node.input[2] if len(node.input) > 2 else ""
        graph.product(node.input[0], name, weights[name], node.output[0], bias)
    return name


def _weight_input(node: Any) -> tuple[int, bool]:
    """Which input of a node is a weight, -1 if none, and whether it is stored as ``(K, N)``."""
    attributes = {it.name: it.f if it.name in ("alpha", "beta") else it.i for it in node.attribute}
    if node.op_type == "Gather":
        return (0 if attributes.get("axis", 0) == 0 else -1), False
    if node.op_type == "MatMul":
        return 1, True
    if node.op_type == "Gemm" and all(attributes.get(name, value) == value for name, value in PLAIN_GEMM.items()):
        return 1, not attributes.get("transB", 0)
    return -1, False


def _digest(values: Any) -> bytes:
    """Of shape and values; of fp32 only, so that no table of integers is taken for a weight."""
    kind = f"{values.shape} {values.dtype}"
    return hashlib.sha256(kind.encode() + numpy.ascontiguousarray(values).tobytes()).digest()
