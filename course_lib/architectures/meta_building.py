"""Building a model without memory for its weights, on torch's ``meta`` device.

Some builders compute widths or schedules with small tensors and read their values (torchvision's RegNet, stochastic
depth of transformers), which ``meta`` tensors do not have. Small ranges and lists are therefore made on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SMALL = 4096
RANGES = (torch.arange, torch.linspace)
LISTS = (torch.tensor, torch.as_tensor)


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """New tensors are on ``meta``, but for ranges and lists of at most 4,096 entries, which have values."""
    with torch.device("meta"), _SmallRangesOnCPU():
        yield


class _SmallRangesOnCPU(TorchFunctionMode):
    """Make small ranges and lists on the CPU unless a device is asked for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (func in RANGES or func in LISTS) and kwargs.get("device") is None and self._is_small(func, args, kwargs):
            return func(*args, **{**kwargs, "device": "cpu"})
        return func(*args, **kwargs)

    def _is_small(self, func: Any, args: Any, kwargs: Any) -> bool:
        if func in RANGES:
            return func(*args, **{**kwargs, "device": "meta"}).numel() <= SMALL
        return not isinstance(args[0], torch.Tensor) and func(*args, **{**kwargs, "device": "cpu"}).numel() <= SMALL


def with_memory(model: nn.Module, replacements: Mapping[str, Callable[[nn.Module], nn.Module]]) -> None:
    """Give every tensor of ``model`` that is on ``meta`` memory and initial values, in place, on the default device.

    Layers are initialized as torch or transformers does it; a parameter of another module is drawn from N(0, 0.02²).
    Shared modules and tensors stay shared.

    Args:
        replacements: layer name → function that makes another layer in place of it.

    Raises:
        ValueError: if a buffer has values that only its builder can compute.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    allocated: dict[int, nn.Parameter] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if name in replacements:
            replaced[module] = replacements[name](module)
        if module in replaced:
            model.set_submodule(name, replaced[module])
        else:
            _allocate(model, name, module, allocated)


def _allocate(model: nn.Module, name: str, module: nn.Module, allocated: dict[int, nn.Parameter]) -> None:
    """Give the tensors of one module, without those inside it, memory and initial values."""
    parameters = {key: value for key, value in module._parameters.items() if value is not None and value.is_meta}
    buffers = {key: value for key, value in module._buffers.items() if value is not None and value.is_meta}
    for key, parameter in parameters.items():
        if id(parameter) not in allocated:
            memory = torch.empty(parameter.shape, dtype=parameter.dtype)
            new = allocated[id(parameter)] = nn.Parameter(memory, requires_grad=parameter.requires_grad)
            allocated[id(new)] = new
        module._parameters[key] = allocated[id(parameter)]
    for key, buffer in buffers.items():
        module._buffers[key] = torch.full(buffer.shape, _unset(buffer), dtype=buffer.dtype)
    if parameters or buffers:
        _initialize(model, module)
    for key, attribute in vars(module).items():
        if isinstance(attribute, Tensor) and attribute.is_meta:
            raise ValueError(f"{type(model).__name__} cannot be resized: only its builder can compute {name}.{key}")
    for key in buffers:
        value: Any = module._buffers[key]
        unset = torch.tensor(_unset(value), dtype=value.dtype, device=value.device)
        if not value.is_meta and value.numel() and torch.isclose(value, unset, equal_nan=True).any():
            raise ValueError(f"{type(model).__name__} cannot be resized: only its builder can compute {name}.{key}")


def _initialize(model: Any, module: Any) -> None:
    """Initial values of the tensors of one module."""
    if reset := getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None):
        reset()
    elif hasattr(model, "_init_weights"):  # transformers
        model._init_weights(module)
    else:
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter, std=0.02)


def _unset(tensor: Tensor) -> float | int | bool:
    """A value that marks an entry without a value; there is none for booleans."""
    if tensor.is_floating_point():
        return float("nan")
    return True if tensor.dtype == torch.bool else torch.iinfo(tensor.dtype).min
