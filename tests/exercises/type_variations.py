"""Right answers that return their values as other types, as learners write them: lists for tuples, other precisions…

``retyped`` wraps an answer; ``RIGHT`` and ``WRONG`` have a function for each kind of change, applied to every value in
a result. Half precision is not among them: whether its values are right is a matter of tolerance and not of the type.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy
import torch

Change = Callable[[Any], Any]


def retyped(answer: Any, change: Change) -> tuple[Any, list[bool]]:
    """``answer`` with every result changed, or a subclass of it whose methods are; and whether a value changed."""
    changed: list[bool] = []

    def wrapped(function: Any) -> Any:
        @functools.wraps(function)
        def other(*args: Any, **kwargs: Any) -> Any:
            return _changed(function(*args, **kwargs), change, changed)

        return other

    if not isinstance(answer, type):
        return wrapped(answer), changed
    methods = {name: wrapped(value) for name, value in vars(answer).items()
               if callable(value) and name != "__init__"}  # fmt: skip
    return type(answer.__name__, (answer,), {**methods, "__module__": answer.__module__}), changed


def _changed(value: Any, change: Change, changed: list[bool]) -> Any:
    if type(value) in (list, tuple):
        value = type(value)(_changed(entry, change, changed) for entry in value)
    elif type(value) is dict:
        value = {key: _changed(entry, change, changed) for key, entry in value.items()}
    other = change(value)
    if other is not value:
        changed.append(True)
    return other


def _is_float(value: Any) -> bool:
    return type(value) is torch.Tensor and value.is_floating_point()


def _is_whole(value: Any) -> bool:
    is_tensor = type(value) is torch.Tensor and value.dim()
    return is_tensor and not value.is_floating_point() and value.dtype is not torch.bool


def _for(kinds: tuple[type, ...], make: Change) -> Change:
    return lambda value: make(value) if type(value) in kinds else value


RIGHT: dict[str, Change] = {
    "lists for tuples": _for((tuple,), list),
    "tuples for lists": _for((list,), tuple),
    "an ordered dictionary": _for((dict,), OrderedDict),
    "float64 tensors": lambda value: value.double() if _is_float(value) else value,
    "int for whole floats": lambda value: int(value) if type(value) is float and value.is_integer() else value,
    "tensors without dimensions": _for((int, float), torch.tensor),
    "NumPy numbers": _for((int, float), lambda value: numpy.asarray(value)[()]),
}
"""Changes that cost nothing in any question."""

WRONG: dict[str, Change] = {
    "floats for int": _for((int,), float),
    "NumPy arrays": lambda value: value.detach().numpy() if _is_float(value) and value.dim() else value,
    "other whole numbers": (
        lambda value: value.to(torch.int16 if value.dtype is not torch.int16 else torch.int32)
        if _is_whole(value) else value
    ),
    "int for bool": _for((bool,), int),
    "texts for numbers": _for((int, float), str),
    "lists for tensors": lambda value: value.tolist() if type(value) is torch.Tensor and value.dim() else value,
}  # fmt: skip
"""Changes that cost the points of any question whose results they change."""
