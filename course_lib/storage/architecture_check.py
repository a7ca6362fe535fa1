"""Building a model from an untrusted description.

The model is first built on the ``meta`` device, which needs no memory, under a limit on the number of layers. Only if
it has exactly the stored tensors is the real model built, without random weights. A registered builder must therefore
work under ``meta_building.without_memory``: it must not read values of its tensors, but of small ranges.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as registration
from torch.overrides import TorchFunctionMode

from course_lib import architectures
from course_lib.architectures.meta_building import without_memory
from course_lib.storage.encodings import FormatError

MAX_ARGUMENT = 2**20
MAX_UNSTORED_ELEMENTS = 2**24
REGISTRATIONS_PER_TENSOR = 16  # a builder may make layers and then replace them by narrower ones
EXTRA_REGISTRATIONS = 1024

RANDOM_FILLS = {
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "kaiming_normal_", "kaiming_uniform_", "log_normal_",
    "normal_", "random_", "uniform_",
}  # fmt: skip

Shapes = Mapping[str, tuple[int, ...]]


def check_architecture(architecture: Any, shapes: Shapes) -> nn.Module:
    """Check that ``architecture`` builds a model with exactly the tensors ``shapes``, without memory for them.

    Returns:
        This model, on the ``meta`` device.

    Raises:
        FormatError: if it does not, or if it has far more layers or values than these tensors need.
    """
    largest = max([MAX_ARGUMENT, *(size for shape in shapes.values() for size in shape)])
    model = _on_meta(architecture, len(shapes), largest)
    _compare_shapes(_shapes(model), shapes)
    return model


def built_shapes(architecture: Any, tensors: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of the model that ``architecture`` builds, without memory for them.

    Args:
        tensors: the number of tensors that are stored; the model may have no more layers than these need.

    Raises:
        FormatError: if it cannot be built, or has far more layers or values than ``tensors`` tensors need.
    """
    return _shapes(_on_meta(architecture, tensors, MAX_ARGUMENT))


def _on_meta(architecture: Any, tensors: int, largest: int) -> nn.Module:
    """The model without memory; no number in the arguments may exceed ``largest``."""
    if not (isinstance(architecture, dict) and isinstance(architecture.get("arguments"), dict)):
        raise FormatError("its architecture is not {'builder': name, 'arguments': {…}}")
    for number in _integers(architecture["arguments"]):
        if abs(number) > largest:
            raise FormatError(f"its builder argument {number} is larger than anything that is stored")
    with _build_errors(), _registration_limit(EXTRA_REGISTRATIONS + REGISTRATIONS_PER_TENSOR * tensors):
        with without_memory():
            model = architectures.build(architecture)
        stored = _shapes(model)
    unstored = sum(buffer.numel() for name, buffer in model.named_buffers() if name not in stored)
    if unstored > MAX_UNSTORED_ELEMENTS:
        raise FormatError(f"its architecture needs {unstored:,} further values that are not stored")
    return model


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def empty_model(architecture: Mapping[str, Any]) -> nn.Module:
    """The model of a checked description, its weights uninitialized; no random number is drawn."""
    with _build_errors(), torch.random.fork_rng(devices=[]), _NoRandomFill():
        return architectures.build(architecture)


def _compare_shapes(built: Shapes, stored: Shapes) -> None:
    missing, extra = built.keys() - stored.keys(), stored.keys() - built.keys()
    if missing or extra:
        problem, names = ("misses", missing) if missing else ("has unexpected", extra)
        raise FormatError(f"it {problem} {len(names)} tensors of this architecture, for example {min(names)!r}")
    for name, shape in built.items():
        if shape != stored[name]:
            raise FormatError(f"tensor {name!r} is stored as {stored[name]}, but the architecture has {shape}")


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _integers(item)


@contextlib.contextmanager
def _build_errors() -> Iterator[None]:
    """Turn any error of a builder into a ``FormatError``: made-up arguments can make it fail in any way."""
    try:
        yield
    except FormatError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(f"its architecture cannot be built: {reason}") from error


@contextlib.contextmanager
def _registration_limit(limit: int) -> Iterator[None]:
    """Refuse to build more than ``limit`` modules, parameters and buffers in this thread."""
    count, thread = 0, threading.get_ident()

    def register(*_: Any) -> None:
        nonlocal count
        if threading.get_ident() == thread:
            count += 1
            if count > limit:
                raise FormatError(f"its architecture has more than {limit:,} parts, far more than tensors are stored")

    handles = [
        registration.register_module_module_registration_hook(register),
        registration.register_module_parameter_registration_hook(register),
        registration.register_module_buffer_registration_hook(register),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _NoRandomFill(TorchFunctionMode):
    """Skip the random initialization of layers, whose tensors are replaced anyway.

    Normal values become their mean: ``trunc_normal_`` draws until all values lie within its bounds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") == "normal_" and args:
            return args[0].fill_(args[1] if len(args) > 1 else (kwargs or {}).get("mean", 0.0))
        if getattr(func, "__name__", "") in RANDOM_FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
