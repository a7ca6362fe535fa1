"""Packed weights in the layout of ONNX Runtime's ``MatMulNBits``: the same codes, scales and zero-points as the file.

``MatMulNBits`` reads a weight ``(N, K)`` in blocks of consecutive inputs, ``K // block_size`` per output; a block has
one scale and one zero-point, and value = (code - zero_point) * scale. Codes of fewer than 8 bits are packed low bits
first, as in ``storage.packed``, so the bytes of the codes are those of the file.

Source: ONNX Runtime, contrib operators, domain com.microsoft.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.storage import Encoded
from course_lib.storage.attached_encodings import check_values
from course_lib.storage.packed import pack_codes, packed_parts

KERNEL_BITS = (2, 4, 8)
SMALLEST_BLOCK, LARGEST_BLOCK = 16, 256
PACKED = ("packed", "packed_columns")


@dataclass(frozen=True, eq=False)
class BlockWeight:
    """A packed weight ``(N, K)``, N outputs by K inputs, in blocks.

    Args:
        codes: uint8 ``(N, K / block_size, block_size * bits / 8)``.
        scales: fp16 or fp32 ``(N, K / block_size)``, as in the file.
        zero_points: uint8, ``bits`` bits each, every row filled up to whole bytes; None where they are 2^(bits-1).
        divisor: fp16 ``(K,)``, by which the inputs are divided first (scales of AWQ that could not be folded), or None.
    """

    codes: Tensor
    scales: Tensor
    zero_points: Tensor | None
    bits: int
    block_size: int
    divisor: Tensor | None = None

    @property
    def outputs(self) -> int:
        """N, the number of outputs."""
        return self.codes.shape[0]

    @property
    def inputs(self) -> int:
        """K, the number of inputs."""
        return self.codes.shape[1] * self.block_size

    @property
    def bytes(self) -> int:
        """Bytes of codes, scales, zero-points and divisors."""
        parts = (self.codes, self.scales, self.zero_points, self.divisor)
        return sum(part.numel() * part.element_size() for part in parts if part is not None)


def packed_matrices(model: nn.Module) -> dict[str, Encoded]:
    """Tensor name → encoding of every packed weight of ``model``.

    Raises:
        ValueError: if there is none, one is no matrix, or the model holds other values than its encodings.
    """
    found = {name: it for name, it in storage.encodings_of(model).items() if it.encoding in PACKED}
    if not found:
        raise ValueError(
            f"model {type(model).__name__} has no packed weights; quantize it first, for example with "
            "quantization.rtn(model, 4).model"
        )
    state = model.state_dict()
    for name, encoded in found.items():
        if len(encoded.shape) != 2:
            raise ValueError(
                f"weight {name!r} has shape {encoded.shape}; MatMulNBits multiplies by matrices only, so a convolution "
                "needs quantization.deploy_static"
            )
        check_values(name, state[name].cpu(), encoded)
    return found


def block_weight(name: str, encoded: Encoded) -> BlockWeight:
    """A packed matrix in blocks; a group that is longer than a block gives its scale to several.

    Args:
        name: of the tensor, for errors.

    Raises:
        ValueError: if the kernel has no such bits, no block size divides the groups, or columns are kept in fp16.
    """
    if encoded.encoding not in PACKED or "kept" in encoded.parts:
        kind = "kept columns" if encoded.encoding in PACKED else f"encoding {encoded.encoding!r}"
        raise ValueError(f"weight {name!r} has {kind}; MatMulNBits takes packed integers with scales only")
    bits, group, axis = (int(encoded.facts[fact]) for fact in ("bits", "group", "axis"))
    if bits not in KERNEL_BITS:
        raise ValueError(f"weight {name!r} has {bits} bits; MatMulNBits takes 2, 4 or 8")
    outputs, inputs = encoded.shape if axis == 0 else encoded.shape[::-1]
    block = _block_size(name, group, inputs)
    inner = {part: encoded.parts[part] for part in ("codes", "scales", "zero_points") if part in encoded.parts}
    _, _, zero_points = packed_parts(replace(encoded, encoding="packed", parts=inner))
    shape = (outputs, inputs // block)
    zeros = None if zero_points is None else _rows_of_bytes(_per_block(zero_points, group // block, shape), bits)
    return BlockWeight(
        encoded.parts["codes"].reshape(*shape, block * bits // 8),
        _per_block(encoded.parts["scales"], group // block, shape),
        zeros, bits, block, encoded.parts.get("divisor"),
    )  # fmt: skip


def join_rows(weights: list[BlockWeight]) -> BlockWeight | None:
    """One weight with the outputs of all, which read the same input; None if bits, blocks or divisors differ."""
    first = weights[0]
    for other in weights[1:]:
        alike = (other.bits, other.block_size, other.inputs) == (first.bits, first.block_size, first.inputs)
        if not alike or other.scales.dtype != first.scales.dtype or not _same(other.divisor, first.divisor):
            return None
    if len({weight.zero_points is None for weight in weights}) > 1:
        return None
    zeros = [weight.zero_points for weight in weights if weight.zero_points is not None]
    return replace(
        first,
        codes=torch.cat([weight.codes for weight in weights]),
        scales=torch.cat([weight.scales for weight in weights]),
        zero_points=torch.cat(zeros) if zeros else None,
    )


def _block_size(name: str, group: int, inputs: int) -> int:
    """The largest power of two that divides groups and rows and that the kernel takes."""
    common = math.gcd(group, inputs)
    block = min(common & -common, LARGEST_BLOCK)
    if block < SMALLEST_BLOCK:
        raise ValueError(
            f"weight {name!r} has groups of {group} of its {inputs} inputs; MatMulNBits takes blocks of 16, 32, 64, "
            "128 or 256 inputs, so group and inputs must be multiples of 16"
        )
    return block


def _per_block(per_group: Tensor, repeats: int, shape: tuple[int, int]) -> Tensor:
    return per_group.repeat_interleave(repeats)[: math.prod(shape)].reshape(shape)


def _rows_of_bytes(zero_points: Tensor, bits: int) -> Tensor:
    """Zero-points (N, blocks) with ``bits`` bits each; every row starts at a new byte."""
    per_byte = 8 // bits
    padded = nn.functional.pad(zero_points, (0, -zero_points.shape[1] % per_byte))
    return pack_codes(padded, bits).reshape(len(zero_points), -1)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))
