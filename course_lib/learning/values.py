"""Arguments and results of a learner's function: copied, reduced to exact types, and described in a few words.

An object that overrides ``__eq__``, ``__repr__`` or ``__torch_function__`` could equal everything, so results are
rebuilt with the methods of the built-in types before they are compared or printed. This module does not import torch
or NumPy; if they are not loaded yet, no value can be theirs.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 20
SHOWN_ENTRIES = 6
SHOWN_CHARACTERS = 60

_EXACT = (bool, int, float, complex, str, bytes, type(None))
_REBUILD: dict[type, Any] = {
    int: lambda value: int.__add__(value, 0),
    float: lambda value: float.__add__(value, 0.0),
    complex: lambda value: complex.__add__(value, 0j),
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
}
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset)


class UnusableResult(TypeError):
    """A result that cannot be compared fairly, for example a tensor subclass with methods of its own."""


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` rebuilt from exact built-in types, tensors and arrays; any other object is returned as it is.

    Subclasses of numbers, strings and containers lose their overridden methods; NumPy scalars become Python numbers.

    Raises:
        UnusableResult: for a subclass of a tensor or array, an unsupported dictionary key, or deep nesting.
    """
    kind = type(value)
    if kind in _EXACT:
        return value
    if depth > MAX_DEPTH:
        raise UnusableResult(f"it is nested more than {MAX_DEPTH} levels deep")
    for base, rebuild in _REBUILD.items():
        if issubclass(kind, base):
            return rebuild(value)
    for base in _SEQUENCES:
        if issubclass(kind, base):
            return base(plain(entry, depth + 1) for entry in base.__iter__(value))
    if issubclass(kind, dict):
        return {_plain_key(key): plain(entry, depth + 1) for key, entry in dict.items(value)}
    return _plain_array(value, kind)


def clone(value: Any) -> Any:
    """A deep copy of tensors, arrays, containers and modules; other objects are returned as they are."""
    kind, torch, numpy = type(value), loaded("torch"), loaded("numpy")
    if kind in (list, tuple, set):
        return kind(clone(entry) for entry in value)
    if kind is dict:
        return {key: clone(entry) for key, entry in value.items()}
    if numpy is not None and kind is numpy.ndarray:
        return value.copy()
    if torch is not None and issubclass(kind, torch.Tensor):
        return _clone_tensor(value, torch)
    if torch is not None and issubclass(kind, torch.nn.Module):
        return copy.deepcopy(value)
    return value


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is exactly a ``torch.Tensor``, not a subclass."""
    torch = loaded("torch")
    return torch is not None and type(value) is torch.Tensor


def loaded(name: str) -> Any:
    """The module, if it is already imported."""
    return sys.modules.get(name)


def describe(value: Any) -> str:
    """A short description for a message; it never calls methods of a learner's class."""
    kind, torch, numpy = type(value), loaded("torch"), loaded("numpy")
    if kind is float:
        text = f"{value:.6g}"
        return f"{text}.0" if text.lstrip("-").isdigit() else text
    if kind is int:
        return f"{value:,}" if abs(value) < 10**30 else "a very large integer"
    if kind in _EXACT:
        return shorten(repr(value))
    if torch is not None and kind in (torch.Tensor, torch.nn.Parameter):
        return _describe_tensor(value.detach())
    if torch is not None and kind in (torch.dtype, torch.device):
        return str(value)
    if numpy is not None and kind is numpy.ndarray:
        return f"{value.dtype} array of shape {_shape(value.shape)}"
    if kind in (list, tuple):
        return _describe_sequence(value, *("[]" if kind is list else "()"))
    if kind is dict:
        return _describe_sequence([f"{describe(key)}: {describe(entry)}" for key, entry in value.items()], "{", "}")
    return _describe_object(value, kind)


def describe_any(value: Any) -> str:
    """``describe`` of the plain value, or the type of an object that cannot be compared."""
    try:
        return describe(plain(value))
    except UnusableResult:
        return _describe_object(value, type(value))


def describe_call(arguments: Mapping[str, Any]) -> str:
    """``weight = float32 tensor of shape (8, 16), sparsity = 0.5``."""
    return ", ".join(f"{name} = {describe(value)}" for name, value in arguments.items())


def _plain_key(key: Any) -> Any:
    key = plain(key, depth=MAX_DEPTH - 1)
    if type(key) not in (*_EXACT, tuple):
        raise UnusableResult(f"it has a dictionary key that is {describe(key)}; use strings or numbers")
    return key


def _plain_array(value: Any, kind: Any) -> Any:
    torch, numpy = loaded("torch"), loaded("numpy")
    if torch is not None and issubclass(kind, torch.Tensor):
        if kind is torch.nn.Parameter:
            return torch.Tensor.detach(value)
        if kind is not torch.Tensor:
            raise UnusableResult(f"it is a {kind.__name__}; return a plain torch.Tensor")
        return torch.Tensor.view_as(value, value) if value.__dict__ else value
    if numpy is not None and issubclass(kind, numpy.generic):
        return plain(numpy.generic.item(value))
    if numpy is not None and issubclass(kind, numpy.ndarray) and kind is not numpy.ndarray:
        raise UnusableResult(f"it is a {kind.__name__}; return a plain numpy.ndarray")
    return value


def _clone_tensor(value: Any, torch: Any) -> Any:
    """A leaf with the same values, strides and ``requires_grad``."""
    copied = value.detach().clone(memory_format=torch.preserve_format)
    if not value.is_contiguous() and value.layout is torch.strided and copied.stride() != value.stride():
        copied = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype).copy_(value.detach())
    return copied.requires_grad_(value.requires_grad)


def _describe_tensor(tensor: Any) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not loaded("torch").strided or tensor.is_meta:
        return f"{dtype} tensor of shape {_shape(tensor.shape)} that is not dense"
    if tensor.dim() == 0:
        return f"{dtype} tensor with the value {describe(tensor.item())}"
    if tensor.dim() == 1 and 0 < tensor.numel() <= SHOWN_ENTRIES:
        return f"{dtype} tensor {describe(tensor.tolist())}"
    return f"{dtype} tensor of shape {_shape(tensor.shape)}"


def _shape(shape: Any) -> str:
    return str(tuple(shape))


def _describe_sequence(entries: Any, opening: str, closing: str) -> str:
    shown = [entry if opening == "{" else describe(entry) for entry in entries[:SHOWN_ENTRIES]]
    rest = f", … {len(entries)} in all" if len(entries) > SHOWN_ENTRIES else ""
    comma = "," if opening == "(" and len(entries) == 1 else ""
    return opening + shorten(", ".join(shown), 2 * SHOWN_CHARACTERS) + comma + rest + closing


def _describe_object(value: Any, kind: type) -> str:
    if issubclass(kind, type):
        return f"the class {type.__getattribute__(value, '__name__')}"
    name = type.__getattribute__(kind, "__name__")
    if name in ("function", "builtin_function_or_method", "method"):
        return f"the function {value.__name__}"
    return f"an object of type {name}"


def shorten(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """``text``, or its beginning and an ellipsis if it is longer than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
