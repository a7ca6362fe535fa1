"""The formulas of lesson 01: bytes of a format, seconds of a pass.

Symbols: ``n`` parameters, ``b`` bytes per value, ``s`` sparsity, ``f`` the remaining fraction (of the rank, or of the
parameters of a student), ``B`` batch size. A pass over the model reads every weight once and does two FLOP per weight
and example. Activations, attention and uncompressed layers are not counted, so the estimate favours the technique.
"""

from __future__ import annotations

import math

from course_lib.calculator.hardware import Hardware

VALUE_BYTES = {"fp32": 4, "fp16": 2}
INDEX_BYTES = 4  # CSR: one int32 column per kept value
GROUP_SIZE = 128  # weights that share one fp16 scale and one zero-point
SCALE_BITS = 16
# Kernels that skip zeros reach about an eighth of the dense peak: a CSR matmul breaks even near 87 % sparsity.
SPARSE_EFFICIENCY = 1 / 8


def seconds(read_bytes: float, flops: float, machine: Hardware, dtype: str, efficiency: float = 1.0) -> float:
    """Time of one pass: the longer of reading the bytes and computing the FLOP.

    Source: Williams, Waterman & Patterson, Roofline, 2009.
    """
    return max(read_bytes / (machine.bandwidth * 1e9), flops / (machine.peak(dtype) * efficiency * 1e12))


def bitmask_bytes(n: float, s: float, b: float) -> float:
    """One bit per weight, and the kept values, as in ``storage.encodings.encode_bitmask``."""
    return math.ceil(n / 8) + (1 - s) * n * b


def csr_bytes(n: float, s: float, b: float) -> float:
    """A value and a column for each kept weight; the row pointers are too few to count."""
    return (1 - s) * n * (b + INDEX_BYTES)


def quantized_bytes(n: float, bits: float, group_size: int = GROUP_SIZE) -> float:
    """Packed integers, and per group one fp16 scale and one zero-point of the same number of bits."""
    return math.ceil((n * bits + math.ceil(n / group_size) * (SCALE_BITS + bits)) / 8)


def low_rank_bytes(n: float, f: float, b: float) -> float:
    """Two factors of rank ``r = f · d`` instead of a square ``d × d`` matrix: ``2 · d · r`` values."""
    return 2 * f * n * b


def student_bytes(n: float, f: float, b: float) -> float:
    """A dense model with a fraction of the parameters."""
    return f * n * b


def stored_bytes(technique: str, n: float, strength: float, b: float) -> dict[str, float]:
    """Format → bytes of the compressed weights."""
    formats = {
        "pruning": {"dense": n * b, "bitmask": bitmask_bytes(n, strength, b), "csr": csr_bytes(n, strength, b)},
        "quantization": {"packed": quantized_bytes(n, strength)},
        "distillation": {"dense": student_bytes(n, strength, b)},
        "low_rank": {"factors": low_rank_bytes(n, strength, b)},
    }
    return formats[technique]


def dense_seconds(technique: str, n: float, strength: float, B: int, machine: Hardware, dtype: str) -> float:
    """One pass of the compressed model with dense kernels, which every runtime has.

    They read and multiply zeros like any value. Integer kernels exist for 8 bits; other bit widths are unpacked and
    multiplied in the dtype of the baseline.
    """
    b = VALUE_BYTES[dtype]
    if technique == "pruning":
        return seconds(n * b, 2 * n * B, machine, dtype)
    if technique == "quantization":
        return seconds(quantized_bytes(n, strength), 2 * n * B, machine, "int8" if strength == 8 else dtype)
    remaining = (2 * strength if technique == "low_rank" else strength) * n
    return seconds(remaining * b, 2 * remaining * B, machine, dtype)


def sparse_seconds(n: float, s: float, B: int, machine: Hardware, dtype: str) -> float:
    """One pass with kernels that skip zeros: fewer bytes and FLOP, at a fraction of the peak."""
    flops = 2 * (1 - s) * n * B
    return seconds(csr_bytes(n, s, VALUE_BYTES[dtype]), flops, machine, dtype, SPARSE_EFFICIENCY)
