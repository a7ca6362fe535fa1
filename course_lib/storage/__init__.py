"""One file that holds a model: what "stored size" means in this course.

The container is safetensors. Its metadata has one key, ``course``: JSON with the format version, the architecture
(builder and arguments, see ``architectures``), and for each tensor its encoding, dtype and shape. Codebooks, scales,
masks and headers are in the file, so its size is the whole size. The same model always gives the same bytes.

Exactness: with ``dtype="fp32"`` every value comes back bit for bit (NaN and infinity too), except that the bitmask
encoding gives ``0.0`` for ``-0.0``. With ``dtype="fp16"`` the stored model is ``model.half().float()``.

A model whose weights stand for integers or codes stays a plain module that holds the decoded values; ``set_encodings``
notes beside it how each of these tensors is to be stored, ``save`` follows the note, and ``load`` gives it back.

A file is data, never code: builders and encodings are looked up by name among those that are registered, every claim
of the header is checked against the bytes that are there, and the model is first built without memory.
"""

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
from course_lib.storage.architecture_check import check_architecture, empty_model
from course_lib.storage.columns import encode_columns
from course_lib.storage.container import FORMAT_VERSION, HEADER_KEY, PART_SEPARATOR, TensorRecord, open_container
from course_lib.storage.encodings import (
    DTYPE_NAMES,
    DTYPES,
    ENCODINGS,
    Encoded,
    FormatError,
    decode,
    encode_dense,
    register,
)
from course_lib.storage.packed import encode_codebook, encode_packed, packed_parts

__all__ = [
    "Encoded", "FormatError", "TensorRecord", "decode", "encode_codebook", "encode_columns", "encode_packed",
    "encodings_of", "inspect", "load", "packed_parts", "register", "save", "set_encodings", "stored_bytes",
]  # fmt: skip

ENCODINGS_ATTRIBUTE = "course_encodings"

RECORD_OVERHEAD = 128  # bytes that a second part costs in the container's own header, about

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
        encoding: ``"auto"`` takes what ``set_encodings`` noted, else the smaller one for each floating-point tensor;
            ``"dense"`` or ``"bitmask"`` for all of them; or a mapping from tensor name to a name or to parts that a
            technique encoded already (the rest is ``"auto"``).
        dtype: ``"fp32"`` or ``"fp16"``, for floating-point values; integer buffers are kept as they are.
        masks: layer or parameter name → boolean mask; entries where it is False are stored as zero.

    Raises:
        ValueError: if the model has no description (see ``models.describe``), still carries masks of
            ``torch.nn.utils.prune``, has a dtype that cannot be stored, does not fit ``dtype`` or ``masks``, or holds
            other values than the encodings that were noted for it.
    """
    check_choice("dtype", dtype, ("fp32", "fp16"))
    if isinstance(encoding, str):
        check_choice("encoding", encoding, ("auto", *ENCODINGS))
    architecture = _plain_json(architectures.describe(model))
    state = _state(model)
    owners = _owners(state)
    dropped = _masks_by_tensor(masks or {}, state, owners)
    choices = _choices(encoding, state, owners, encodings_of(model))
    records: dict[str, dict[str, Any]] = {}
    parts: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if owners[name] != name:
            records[name] = {"encoding": "shared", "with": owners[name]}
            continue
        values = tensor.cpu() if name not in dropped else torch.where(dropped[name], 0, tensor.cpu())
        encoded = _encode(name, values, choices[name], dtype)
        facts = {"encoding": encoded.encoding, "dtype": encoded.dtype, "shape": list(encoded.shape)}
        records[name] = facts | dict(encoded.facts)
        parts |= {_key(name, part): value.contiguous() for part, value in encoded.parts.items()}
    header = {"format": FORMAT_VERSION, "architecture": architecture, "tensors": records}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    return write_atomically(path, safetensors_bytes(parts, {HEADER_KEY: text}))


def load(path: str | Path) -> nn.Module:
    """The stored model in eval mode with fp32 weights; nothing but the file is needed.

    Memory is bounded by the file: at most 32 bytes for each byte stored. The random generator is left alone.

    Raises:
        FileNotFoundError: if there is no such file.
        FormatError: if the file is damaged, hostile, or newer than this package; one line that says what is wrong.
    """
    with open_container(Path(path)) as stored:
        check_architecture(stored.architecture, stored.shapes)
        model = empty_model(stored.architecture)
        parameters = dict(model.named_parameters(remove_duplicate=False))
        values: dict[str, Tensor] = {}
        for name, owner in stored.owners.items():
            # one Parameter object under every name that shared it keeps tied weights tied
            values[name] = values[owner] if owner != name else stored.value(name)
            if name in parameters and not isinstance(values[name], nn.Parameter):
                values[name] = nn.Parameter(values[name], requires_grad=values[name].is_floating_point())
        model.load_state_dict(values, assign=True)
        noted = {name: stored.encoded(name) for name in stored.encoded_by_a_technique()}
    if noted:
        setattr(model, ENCODINGS_ATTRIBUTE, noted)
    return model.eval()


def set_encodings(model: nn.Module, encodings: Mapping[str, Encoded]) -> None:
    """Note how tensors of ``model`` are to be stored; the note replaces an earlier one, ``{}`` takes it away.

    Args:
        encodings: name in ``model.state_dict()`` → the encoded tensor; the model must hold exactly its decoded values.

    Raises:
        ValueError: if a name is unknown, or the model holds other values.
    """
    state = model.state_dict()
    for name, encoded in encodings.items():
        if name not in state:
            raise ValueError(f"encodings names {name!r}, which is no tensor of the model")
        _check_values(name, state[name].cpu(), encoded)
    setattr(model, ENCODINGS_ATTRIBUTE, dict(encodings))


def encodings_of(model: nn.Module) -> dict[str, Encoded]:
    """What ``set_encodings`` noted, or ``load`` found: tensor name → encoded tensor; empty for most models."""
    return dict(getattr(model, ENCODINGS_ATTRIBUTE, {}))


def stored_bytes(path: str | Path) -> int:
    """Size of the file in bytes."""
    return Path(path).stat().st_size


def inspect(path: str | Path) -> list[TensorRecord]:
    """One record for each tensor, in the order of the model; a tensor that is shared costs no bytes the second time.

    Raises:
        FormatError: as ``load``.
    """
    with open_container(Path(path)) as stored:
        return [stored.record(name) for name in stored.owners]


def _state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors to store, or ``ValueError`` with the remedy where they cannot be."""
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
    """Name → first name under which the same memory is seen, so that tied tensors are stored once."""
    first: dict[Any, str] = {}
    owners = {}
    for name, tensor in state.items():
        memory = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        owners[name] = first.setdefault(memory if tensor.numel() else name, name)
    return owners


def _masks_by_tensor(
    masks: Mapping[str, Tensor], state: Mapping[str, Tensor], owners: Mapping[str, str]
) -> dict[str, Tensor]:
    """Name of the stored tensor → boolean tensor that is True where a value is dropped."""
    dropped: dict[str, Tensor] = {}
    for name, mask in masks.items():
        target = name if name in state else f"{name}.weight"
        if target not in state:
            raise ValueError(f"masks names {name!r}, which is neither a parameter nor a layer with a weight")
        if mask.shape != state[target].shape:
            raise ValueError(f"mask {name!r} has shape {tuple(mask.shape)}; allowed is {tuple(state[target].shape)}")
        cut = ~mask.cpu().bool()
        owner = owners[target]
        dropped[owner] = dropped[owner] | cut if owner in dropped else cut
    return dropped


def _choices(
    encoding: str | Mapping[str, Choice], state: Mapping[str, Tensor], owners: Mapping[str, str], noted: Any
) -> dict[str, Choice]:
    """Tensor name → how it is stored; what is said about a tied tensor holds under each of its names."""
    if isinstance(encoding, str) and encoding != "auto":
        return dict.fromkeys(state, encoding)
    chosen = {**noted, **(encoding if isinstance(encoding, Mapping) else {})}
    by_owner = {owners[name]: choice for name, choice in chosen.items() if name in owners}
    return {name: by_owner.get(name, "auto") for name in state}


def _check_values(name: str, tensor: Tensor, encoded: Encoded) -> None:
    if not torch.equal(decode(encoded).to(tensor.dtype), tensor):
        raise ValueError(
            f"encoding of {name!r} holds other values than the model; put the decoded ones into it, or drop the "
            "encodings with storage.set_encodings(model, {}) if the weights were changed on purpose"
        )


def _encode(name: str, tensor: Tensor, choice: Choice, dtype: str) -> Encoded:
    """``tensor`` in its encoding; only what is exact in ``dtype`` may be chosen by name."""
    if isinstance(choice, Encoded):
        _check_values(name, tensor, choice)
        return choice
    if not tensor.is_floating_point():
        return encode_dense(tensor)
    stored = tensor.to(DTYPES[dtype])
    if (stored.isinf() & tensor.isfinite()).any():
        raise ValueError(f"tensor {name!r} has values beyond the range of {dtype}; store it with dtype='fp32'")
    makers = {key: encoding.encode for key, encoding in ENCODINGS.items() if encoding.encode is not None}
    check_choice("encoding", choice, ("auto", *makers))
    if choice != "auto":
        return makers[choice](stored)
    return min((make(stored) for make in makers.values()), key=lambda it: it.bytes + RECORD_OVERHEAD * len(it.parts))


def _key(name: str, part: str) -> str:
    return f"{name}{PART_SEPARATOR}{part}" if part else name


def _plain_json(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The description with its keys sorted, so that the order in which arguments were given leaves no trace."""
    try:
        return json.loads(json.dumps(architecture, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"architecture {architecture} cannot be written as JSON: {error}") from error
