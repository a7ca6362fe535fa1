"""From quantized tensors to the file, and back: the bridge between ``affine`` and ``storage``.

A quantized model is a plain torch module whose weights hold exactly what the integers stand for. Beside them it
carries a note for ``storage.save``, which then writes the integers; ``storage.load`` gives both back.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib import storage
from course_lib.quantization.affine import QuantizedTensor, QuantParams
from course_lib.storage import Encoded

Packable = QuantizedTensor | Encoded


def pack(quantized: QuantizedTensor) -> Encoded:
    """The stored form: ``bits`` bits per entry, a scale per block (2 bytes if fp16 holds it exactly, else 4).

    Asymmetric blocks have a zero-point of ``bits`` bits too.
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
    """The inverse of ``pack``; a group that is as long as a channel comes back as ``per_channel``.

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
    """Put quantized weights into ``model`` (in place, so hand in a copy), with the note how to store them.

    Tensors that were set before and are not named keep their note.

    Args:
        weights: tensor name (``"layer1.0.conv1.weight"``) → quantized tensor, or one that is encoded already.

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
    """Tensor name → integers and scales of every packed weight that ``model`` carries a note of."""
    noted = storage.encodings_of(model)
    return {name: unpack(encoded) for name, encoded in noted.items() if encoded.encoding == "packed"}


def quantized_bytes(weights: Mapping[str, Packable]) -> int:
    """Bytes that these weights take in a file: integers, scales and zero-points (the header comes on top)."""
    return sum((pack(it) if isinstance(it, QuantizedTensor) else it).bytes for it in weights.values())


def sqnr_db(exact: Tensor, approximate: Tensor) -> float:
    """Signal-to-quantization-noise ratio in decibels: 10 log10(sum(exact²) / sum((exact - approximate)²)).

    Six decibels are one bit. Infinite where there is no error; the signal may not be all zeros otherwise.
    """
    signal = exact.double().square().sum().item()
    noise = (exact.double() - approximate.double()).square().sum().item()
    if noise == 0:
        return float("inf")
    return float(10 * torch.log10(torch.tensor(signal / noise, dtype=torch.float64)))
