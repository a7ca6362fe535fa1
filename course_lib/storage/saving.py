"""Writing a model to a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from course_lib import architectures
from course_lib.core.atomic_write import write_atomically
from course_lib.core.validation import check_choice
from course_lib.storage.attached_encodings import check_values, encodings_of
from course_lib.storage.container import FORMAT_VERSION, HEADER_KEY, PART_SEPARATOR
from course_lib.storage.description_check import check_description
from course_lib.storage.encodings import DTYPE_NAMES, DTYPES, ENCODINGS, Encoded, encode_dense

PART_OVERHEAD = 128  # bytes of the container's header for each further part, about

Choice = str | Encoded


def save(
    model: nn.Module,
    path: str | Path,
    *,
    encoding: str | Mapping[str, Choice] = "auto",
    dtype: str = "fp32",
    masks: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write ``model`` to ``path`` (atomically) and return the path.

    Args:
        encoding: ``"auto"`` uses the encodings attached by ``set_encodings``, else the smaller one for each
            floating-point tensor; ``"dense"`` or ``"bitmask"`` for all of them; or a mapping from tensor name to the
            name of an encoding or to an encoded tensor (other tensors are ``"auto"``).
        dtype: ``"fp32"`` or ``"fp16"``, for floating-point values; integer buffers are kept as they are.
        masks: layer or parameter name → boolean mask; entries where it is False are stored as zero.

    Raises:
        ValueError: if the model has no description (see ``models.describe``) or is not what its description builds
            (see ``description_check``), still carries masks of ``torch.nn.utils.prune``, has a dtype that cannot be
            stored, does not fit ``dtype`` or ``masks``, or holds other values than its encodings.
    """
    check_choice("dtype", dtype, ("fp32", "fp16"))
    if isinstance(encoding, str):
        check_choice("encoding", encoding, ("auto", *ENCODINGS))
    architecture = _plain_json(architectures.describe(model))
    state = _state(model)
    check_description(model, architecture, {name: tuple(tensor.shape) for name, tensor in state.items()})
    owners = _owners(state)
    dropped = _masks_by_tensor(masks or {}, state, owners)
    choices = _choices(encoding, state, owners, encodings_of(model))
    values = {name: tensor.cpu() for name, tensor in state.items() if owners[name] == name}
    values |= {name: torch.where(mask, 0, values[name]) for name, mask in dropped.items()}
    encoded = {name: _encode(name, tensor, choices[name], dtype) for name, tensor in values.items()}
    shared = {name: {"encoding": "shared", "with": owners[name]} for name in state if name not in encoded}
    records = {name: shared.get(name) or _record(encoded[name]) for name in state}
    parts = {
        f"{name}{PART_SEPARATOR}{part}" if part else name: value.contiguous()
        for name, one in encoded.items()
        for part, value in one.parts.items()
    }
    header = {"format": FORMAT_VERSION, "architecture": architecture, "tensors": records}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    return write_atomically(path, safetensors_bytes(parts, {HEADER_KEY: text}))


def _state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors to store; an error names the remedy for one that cannot be stored."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("_orig") and f"{name[:-5]}_mask" in state:
            layer, _, parameter = name[:-5].rpartition(".")
            raise ValueError(
                f"model still carries the pruning mask of {name[:-5]!r}, which would be stored beside the weights; "
                f"make it permanent with torch.nn.utils.prune.remove(model.get_submodule({layer!r}), {parameter!r})"
            )
        if not isinstance(tensor, Tensor) or tensor.is_meta or PART_SEPARATOR in name:
            raise ValueError(f"model has an entry that cannot be stored: {name!r} ({type(tensor).__name__})")
        if tensor.dtype not in DTYPE_NAMES and tensor.dtype != torch.bfloat16:
            raise ValueError(
                f"tensor {name!r} has dtype {tensor.dtype}; allowed are {', '.join(DTYPES)} (model.float() helps)"
            )
    return dict(state)


def _owners(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Name → first name of the same memory, so that tied tensors are stored once."""
    first: dict[Any, str] = {}
    owners = {}
    for name, tensor in state.items():
        memory = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        owners[name] = first.setdefault(memory if tensor.numel() else name, name)
    return owners


def _masks_by_tensor(
    masks: Mapping[str, Tensor], state: Mapping[str, Tensor], owners: Mapping[str, str]
) -> dict[str, Tensor]:
    """Name of the stored tensor → boolean mask, True where a value is dropped."""
    dropped: dict[str, Tensor] = {}
    for name, mask in masks.items():
        target = name if name in state else f"{name}.weight"
        if target not in state:
            raise ValueError(f"masks names {name!r}, which is neither a parameter nor a layer with a weight")
        if mask.shape != state[target].shape:
            raise ValueError(f"mask {name!r} has shape {tuple(mask.shape)}; allowed is {tuple(state[target].shape)}")
        owner, dropped_here = owners[target], ~mask.cpu().bool()
        dropped[owner] = dropped[owner] | dropped_here if owner in dropped else dropped_here
    return dropped


def _choices(
    encoding: str | Mapping[str, Choice], state: Mapping[str, Tensor], owners: Mapping[str, str], attached: Any
) -> dict[str, Choice]:
    """Tensor name → how it is stored; the choice for a tied tensor applies to all of its names."""
    if isinstance(encoding, str) and encoding != "auto":
        return dict.fromkeys(state, encoding)
    chosen = {**attached, **(encoding if isinstance(encoding, Mapping) else {})}
    by_owner = {owners[name]: choice for name, choice in chosen.items() if name in owners}
    return {name: by_owner.get(name, "auto") for name in state}


def _encode(name: str, tensor: Tensor, choice: Choice, dtype: str) -> Encoded:
    """``tensor`` as ``choice`` says, floating-point values in ``dtype``."""
    if isinstance(choice, Encoded):
        check_values(name, tensor, choice)
        return choice
    if not tensor.is_floating_point():
        return encode_dense(tensor)
    stored = tensor.to(DTYPES[dtype])
    if (stored.isinf() & tensor.isfinite()).any():
        raise ValueError(f"tensor {name!r} has values beyond the range of {dtype}; store it with dtype='fp32'")
    encoders = {key: encoding.encode for key, encoding in ENCODINGS.items() if encoding.encode is not None}
    check_choice("encoding", choice, ("auto", *encoders))
    if choice != "auto":
        return encoders[choice](stored)
    return min(
        (encode(stored) for encode in encoders.values()), key=lambda it: it.bytes + PART_OVERHEAD * len(it.parts)
    )


def _record(encoded: Encoded) -> dict[str, Any]:
    """The header's entry for a tensor."""
    return {"encoding": encoded.encoding, "dtype": encoded.dtype, "shape": list(encoded.shape), **encoded.facts}


def _plain_json(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The description with sorted keys, so that the order of its arguments does not change the file."""
    try:
        return json.loads(json.dumps(architecture, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"architecture {architecture} cannot be written as JSON: {error}") from error
