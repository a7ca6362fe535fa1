"""Fingerprint of what a model computes, its stored tensors aside: its classes, settings, hooks and constants.

Two models with equal fingerprints and the same shapes run the same code. A class or function that is defined again, as
in a notebook cell that is run twice, is another one, even under the same name.
"""

from __future__ import annotations

import hashlib
import itertools
import types
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from course_lib.storage.attached_encodings import ENCODINGS_ATTRIBUTE

HOOKS = ("_forward_pre_hooks", "_forward_hooks")
INTERNAL = (frozenset(vars(nn.Module())) - set(HOOKS)) | {ENCODINGS_ATTRIBUTE}
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
DEPTH = 6

_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_count = itertools.count()


def fingerprint(model: nn.Module) -> str:
    """A string that is equal for a model and its copies, whatever their parameters and persistent buffers hold."""
    facts = []
    for name, module in model.named_modules(remove_duplicate=False):
        settings = {key: value for key, value in vars(module).items() if key not in INTERNAL}
        constants = {key: module._buffers[key] for key in module._non_persistent_buffers_set if key in module._buffers}
        facts.append((name, _number(type(module)), _facts(settings, DEPTH), _facts(constants, DEPTH)))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _number(code: Any) -> int:
    """A number for a class or function, the same as long as it exists, and never given to another one."""
    return _numbers.setdefault(code, next(_count))


def _facts(value: Any, depth: int) -> Any:
    """A value that ``repr`` writes alike for equal settings: no addresses, no values of parameters."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        return _constant(value)
    if isinstance(value, nn.Module):
        return "module", _number(type(value))
    if isinstance(value, types.MethodType):
        return "method", _number(value.__func__), _facts(value.__self__, depth - 1)
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return "code", _number(value)
    if depth == 0:
        return "deep", _number(type(value))
    if isinstance(value, Mapping):
        items = [_facts(item, depth - 1) for item in value.values()]
        # hooks have numbers for keys, which differ between a model and its copy
        return ("mapping", [key if isinstance(key, str) else "" for key in value], items)
    if isinstance(value, set | frozenset):
        return "set", sorted(repr(_facts(item, depth - 1)) for item in value)
    if isinstance(value, list | tuple):
        return type(value).__name__, [_facts(item, depth - 1) for item in value]
    return "object", _number(type(value)), _facts(getattr(value, "__dict__", repr(value)), depth - 1)


def _constant(tensor: Tensor) -> Any:
    if isinstance(tensor, nn.Parameter) or tensor.is_meta:
        return "parameter", tuple(tensor.shape)
    values = tensor.detach().cpu().contiguous().view(torch.uint8) if tensor.dim() else tensor.detach().cpu()[None]
    content = values.view(torch.uint8).numpy().tobytes()
    return "constant", tuple(tensor.shape), str(tensor.dtype), hashlib.sha256(content).hexdigest()
