"""A matrix–vector product with 4-bit weights, written by hand in numba: naive, blocked, parallel.

One input row ``x`` times a weight ``(N, K)`` whose codes are two to a byte, low half first, with a scale ``s`` and a
zero-point ``z`` for each group of inputs:

    y_n = Σ_g s_ng · (Σ_{k in g} q_nk x_k  −  z_ng · Σ_{k in g} x_k)

* ``multiply_naive`` dequantizes every weight where it is needed, as the formula of a single weight says.
* ``multiply_blocked`` takes scale and zero-point out of the sum over a group, as above, and reads the codes of
  ``ROWS`` outputs side by side (``block_layout``), so that one vector instruction serves many outputs and their partial
  sums stay in the first cache.
* ``multiply_parallel`` gives each thread some of these blocks.

numba compiles a function at its first call, for the types of its arguments, which takes a few seconds.

Source: Lam, Pitrou and Seibert, Numba: A LLVM-based Python JIT Compiler, 2015; the layout in blocks of outputs is what
``MatMulNBits`` and llama.cpp make of a weight when they load it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy
import torch
from torch import Tensor

from course_lib.core.validation import check_positive
from course_lib.storage import Encoded
from course_lib.storage.packed import packed_parts

BITS = 4
ROWS = 128  # outputs of a block: their partial sums take 512 bytes
UNROLLED = 4  # bytes of codes of an output that one step of the loop reads


@dataclass(frozen=True, eq=False)
class FourBitWeight:
    """A 4-bit weight ``(N, K)`` as the kernels read it.

    Args:
        codes: uint8 ``(N, K / 2)``, or ``(N / ROWS, K / 2, ROWS)`` in blocks of outputs.
        scales, zeros: fp32 ``(N, K / group)``, or ``(N / ROWS, K / group, ROWS)``.
        group: inputs that share a scale.
        outputs: N; the last block may have unused rows.
    """

    codes: numpy.ndarray
    scales: numpy.ndarray
    zeros: numpy.ndarray
    group: int
    outputs: int

    @property
    def bytes(self) -> int:
        """Bytes that one product reads."""
        return self.codes.nbytes + self.scales.nbytes + self.zeros.nbytes


def four_bit_weight(encoded: Encoded) -> FourBitWeight:
    """The codes of a packed weight ``(N, K)``, output after output, with fp32 scales and zero-points.

    Raises:
        ValueError: if it is no matrix of 4-bit codes, or its groups are not a multiple of 8 inputs within an output.
    """
    facts, shape = encoded.facts, encoded.shape
    if encoded.encoding != "packed" or facts["bits"] != BITS or len(shape) != 2 or facts["axis"] != 0:
        found = f"{encoded.encoding!r} with shape {shape} and {facts.get('bits')} bits"
        raise ValueError(f"encoded must be a packed matrix (out, in) of 4 bits; got {found}")
    (outputs, inputs), group = shape, int(facts["group"])
    if inputs % group or group % (2 * UNROLLED):
        raise ValueError(f"groups must be a multiple of 8 that divides the {inputs} inputs; got {group}")
    _, scales, zeros = packed_parts(encoded)
    zeros = torch.full_like(scales, 2 ** (BITS - 1)) if zeros is None else zeros.float()
    codes = encoded.parts["codes"].reshape(outputs, inputs // 2)
    per_row = (outputs, inputs // group)
    return FourBitWeight(codes.numpy(), scales.reshape(per_row).numpy(), zeros.reshape(per_row).numpy(), group, outputs)


def block_layout(weight: FourBitWeight) -> FourBitWeight:
    """The same weight with the codes, scales and zero-points of ``ROWS`` outputs side by side."""

    def side_by_side(part: numpy.ndarray) -> numpy.ndarray:
        padded = numpy.pad(part, ((0, -len(part) % ROWS), (0, 0)))
        return numpy.ascontiguousarray(padded.reshape(-1, ROWS, part.shape[1]).transpose(0, 2, 1))

    codes, scales, zeros = (side_by_side(part) for part in (weight.codes, weight.scales, weight.zeros))
    return FourBitWeight(codes, scales, zeros, weight.group, weight.outputs)


def multiply(weight: FourBitWeight, x: Tensor, threads: int = 1) -> Tensor:
    """``W x`` for one row ``x`` ``(K,)``: naive for a weight as it is stored, blocked or parallel in ``block_layout``.

    Raises:
        ValueError: if ``x`` has another length, or ``threads`` is not from 1 to the number of processors.
    """
    inputs = 2 * weight.codes.shape[1]
    if tuple(x.shape) != (inputs,):
        raise ValueError(f"x must have shape ({inputs},), got {tuple(x.shape)}")
    check_positive("threads", threads)
    arguments = (weight.codes, weight.scales, weight.zeros, weight.group, x.detach().float().contiguous().numpy())
    if weight.codes.ndim == 2:
        return torch.from_numpy(multiply_naive(*arguments))
    if threads == 1:
        return torch.from_numpy(multiply_blocked(*arguments)[: weight.outputs])
    numba.set_num_threads(threads)
    return torch.from_numpy(multiply_parallel(*arguments)[: weight.outputs])


@numba.njit
def multiply_naive(codes, scales, zeros, group, x):  # type: ignore[no-untyped-def]
    """``W x``, one weight after another; shapes as in ``FourBitWeight``."""
    y = numpy.zeros(len(codes), numpy.float32)
    for n in range(len(codes)):
        for k in range(len(x)):
            byte, g = codes[n, k // 2], k // group
            q = byte & 15 if k % 2 == 0 else byte >> 4
            y[n] += (numpy.float32(q) - zeros[n, g]) * scales[n, g] * x[k]
    return y


@numba.njit(fastmath=True)
def multiply_blocked(codes, scales, zeros, group, x):  # type: ignore[no-untyped-def]
    """``W x`` in ``block_layout``, block after block, on one thread."""
    sums = _group_sums(group, x)
    y = numpy.empty((len(codes), ROWS), numpy.float32)
    for b in range(len(codes)):
        _multiply_block(codes[b], scales[b], zeros[b], group, x, sums, y[b])
    return y.reshape(-1)


@numba.njit(fastmath=True, parallel=True)
def multiply_parallel(codes, scales, zeros, group, x):  # type: ignore[no-untyped-def]
    """``multiply_blocked`` with blocks on several threads."""
    sums = _group_sums(group, x)
    y = numpy.empty((len(codes), ROWS), numpy.float32)
    for b in numba.prange(len(codes)):
        _multiply_block(codes[b], scales[b], zeros[b], group, x, sums, y[b])
    return y.reshape(-1)


@numba.njit(fastmath=True)
def _group_sums(group, x):  # type: ignore[no-untyped-def]
    """Σ x over every group."""
    sums = numpy.zeros(len(x) // group, numpy.float32)
    for g in range(len(sums)):
        for k in range(g * group, (g + 1) * group):
            sums[g] += x[k]
    return sums


@numba.njit(fastmath=True)
def _multiply_block(codes, scales, zeros, group, x, sums, y):  # type: ignore[no-untyped-def]
    """Write ``W x`` of ``ROWS`` outputs into ``y``; the inner loops run over outputs and become vector instructions."""
    dots = numpy.empty(ROWS, numpy.float32)
    y[:] = 0
    for g in range(len(sums)):
        dots[:] = 0
        for j in range(g * group // 2, (g + 1) * group // 2, UNROLLED):
            c0, c1, c2, c3 = codes[j], codes[j + 1], codes[j + 2], codes[j + 3]
            x0, x1, x2, x3 = x[2 * j], x[2 * j + 1], x[2 * j + 2], x[2 * j + 3]
            x4, x5, x6, x7 = x[2 * j + 4], x[2 * j + 5], x[2 * j + 6], x[2 * j + 7]
            for r in range(ROWS):
                b0, b1, b2, b3 = c0[r], c1[r], c2[r], c3[r]
                dots[r] += (
                    _low(b0) * x0 + _high(b0) * x1 + _low(b1) * x2 + _high(b1) * x3
                    + _low(b2) * x4 + _high(b2) * x5 + _low(b3) * x6 + _high(b3) * x7
                )  # fmt: skip
        for r in range(ROWS):
            y[r] += scales[g, r] * (dots[r] - zeros[g, r] * sums[g])


@numba.njit(fastmath=True)
def _low(byte):  # type: ignore[no-untyped-def]
    """The first code of a byte, fp32."""
    return numpy.float32(numpy.int32(byte & 15))


@numba.njit(fastmath=True)
def _high(byte):  # type: ignore[no-untyped-def]
    """The second code of a byte, fp32."""
    return numpy.float32(numpy.int32(byte >> 4))
