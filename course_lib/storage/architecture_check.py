"""Building a model from a description that came out of a file and cannot be trusted.

The description is first built on the ``meta`` device, which costs no memory, under a limit on the number of layers;
only if it has exactly the tensors that are stored is the real model built, without drawing random weights.
A registered builder must therefore work under ``torch.device("meta")``: it may not read values of its tensors.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from course_lib import architectures
from course_lib.storage.encodings import FormatError

LARGEST_ARGUMENT = 2**20
UNSTORED_ELEMENTS = 2**24
REGISTRATIONS_PER_TENSOR = 16  # builders may make layers and then replace them by narrower ones
SPARE_REGISTRATIONS = 1024

RANDOM_FILLS = {
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "kaiming_normal_", "kaiming_uniform_", "log_normal_",
    "normal_", "random_", "uniform_",
}  # fmt: skip

Shapes = Mapping[str, tuple[int, ...]]


def check_architecture(architecture: Any, shapes: Shapes) -> None:
    """Make sure that ``architecture`` builds a model with exactly the tensors ``shapes``, using no memory for it.

    Raises:
        FormatError: if it does not, or if building it would take more than these tensors can justify.
    """
    if not (isinstance(architecture, dict) and isinstance(architecture.get("arguments"), dict)):
        raise FormatError("its architecture is not {'builder': name, 'arguments': {…}}")
    largest = max([LARGEST_ARGUMENT, *(size for shape in shapes.values() for size in shape)])
    for number in _integers(architecture["arguments"]):
        if abs(number) > largest:
            raise FormatError(f"its builder argument {number} is larger than anything that is stored")
    with _rebuilding(), _registration_limit(SPARE_REGISTRATIONS + REGISTRATIONS_PER_TENSOR * len(shapes)):
        with torch.device("meta"):
            sketch = architectures.build(architecture)
        _compare({name: tuple(tensor.shape) for name, tensor in sketch.state_dict().items()}, shapes)
    unstored = sum(buffer.numel() for name, buffer in sketch.named_buffers() if name not in shapes)
    if unstored > UNSTORED_ELEMENTS:
        raise FormatError(f"its architecture needs {unstored:,} further values that are not stored")


def empty_model(architecture: Mapping[str, Any]) -> nn.Module:
    """The model of a checked description with weights that mean nothing yet; no random number is drawn."""
    with _rebuilding(), torch.random.fork_rng(devices=[]), _NoRandomFill():
        return architectures.build(architecture)


def _compare(built: Shapes, stored: Shapes) -> None:
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
def _rebuilding() -> Iterator[None]:
    """A builder may fail in any way on arguments that were made up; all of them mean that the file is bad."""
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
        hooks.register_module_module_registration_hook(register),
        hooks.register_module_parameter_registration_hook(register),
        hooks.register_module_buffer_registration_hook(register),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _NoRandomFill(TorchFunctionMode):
    """Leave tensors as they are where a layer would fill them with random numbers (they are replaced anyway)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in RANDOM_FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
