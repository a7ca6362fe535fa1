"""Packing: quantized tensors to the encoding of ``storage``, and back.

A quantized model is a plain torch module whose weights are the dequantized values. It also holds their encodings, which
``storage.save`` writes; ``storage.load`` restores both.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from course_lib import storage
from course_lib.quantization.affine import QuantizedTensor, QuantParams
from course_lib.storage import Encoded

Packable = QuantizedTensor | Encoded


def pack(quantized: QuantizedTensor) -> Encoded:
    """The stored form: ``bits`` bits per entry, a scale per block (2 bytes if all are exact in fp16, else 4).

    Asymmetric blocks also have a zero-point of ``bits`` bits.
    """
    params, integers = quantized.params, quantized.integers
    qmin, _ = params.range
    halves = params.scale.half()
    scales = halves if torch.equal(halves.float(), params.scale) else params.scale
    zero_points = None if params.symmetric else params.zero_point.to(torch.uint8)
    return storage.encode_packed(
        (integers.int() - qmin).to(torch.uint8),
        scales,
        zero_points,
        bits=params.bits,
        group=integers.numel() // params.scale.numel(),
        axis=0 if params.axis is None else params.axis % integers.dim(),
    )


def unpack(encoded: Encoded) -> QuantizedTensor:
    """The inverse of ``pack``; groups that are as long as a channel become ``per_channel``.

    Raises:
        ValueError: if ``encoded`` is not ``packed``.
    """
    if encoded.encoding != "packed":
        raise ValueError(f"encoded must be 'packed', got {encoded.encoding!r}, which has no integers with a scale")
    codes, scales, zero_points = storage.packed_parts(encoded)
    bits, group, axis = (int(encoded.facts[name]) for name in ("bits", "group", "axis"))
    symmetric = zero_points is None
    channel = encoded.elements // encoded.shape[axis] if encoded.shape else 1
    shared = None if len(scales) == 1 else axis
    group_size = None if shared is None or group == channel else group
    zeros = torch.zeros(len(scales), dtype=torch.int32) if zero_points is None else zero_points.int()
    params = QuantParams(scales, zeros, bits, symmetric, shared, group_size)
    integers = (codes.int() + params.range[0]).to(torch.int8 if symmetric else torch.uint8)
    return QuantizedTensor(integers, params)


@torch.no_grad()
def set_weights(model: nn.Module, weights: Mapping[str, Packable]) -> nn.Module:
    """Write quantized weights into ``model`` in place (pass a copy), together with their encodings for ``storage``.

    Encodings of other tensors are kept.

    Args:
        weights: tensor name (``"layer1.0.conv1.weight"``) → quantized or encoded tensor.

    Raises:
        ValueError: if a name is unknown or a shape differs; nothing is changed then.
    """
    state = model.state_dict()
    encoded = {name: pack(it) if isinstance(it, QuantizedTensor) else it for name, it in weights.items()}
    for name, it in encoded.items():
        if name not in state or tuple(state[name].shape) != it.shape:
            found = tuple(state[name].shape) if name in state else "no such tensor"
            raise ValueError(f"weights names {name!r} with shape {it.shape}; the model has {found}")
    for name, it in encoded.items():
        state[name].copy_(storage.decode(it))
    storage.set_encodings(model, storage.encodings_of(model) | encoded)
    return model


def quantized_weights(model: nn.Module) -> dict[str, QuantizedTensor]:
    """Tensor name → integers and scales of every packed weight of ``model``."""
    encodings = storage.encodings_of(model)
    return {name: unpack(encoded) for name, encoded in encodings.items() if encoded.encoding == "packed"}


def quantized_bytes(weights: Mapping[str, Packable]) -> int:
    """Bytes of these weights in a file: integers, scales and zero-points, without the header."""
    return sum((pack(it) if isinstance(it, QuantizedTensor) else it).bytes for it in weights.values())
