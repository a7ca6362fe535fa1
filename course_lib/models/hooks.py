"""Forward hooks that last as long as a ``with`` block, and the inputs and outputs of layers that they capture."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

from torch import Tensor, nn

Hook = Callable[..., Any]
Hooks = Mapping[str, Hook]


class StopForward(Exception):
    """Raised by a hook to end a forward pass whose remaining layers are not needed."""


@contextmanager
def _registered(model: nn.Module, method: str, hooks: Hooks, with_kwargs: bool) -> Iterator[None]:
    with ExitStack() as stack:
        for name, hook in hooks.items():
            handle = getattr(model.get_submodule(name), method)(hook, with_kwargs=with_kwargs)
            stack.callback(handle.remove)
        yield


def forward_hooks(model: nn.Module, hooks: Hooks, *, with_kwargs: bool = False) -> AbstractContextManager[None]:
    """Call ``hook(layer, inputs, output)`` after each named layer; what it returns, if anything, is the new output.

    Args:
        hooks: layer name → hook; ``""`` is the model itself. All are removed at the end, also after an error.
        with_kwargs: whether hooks are called as ``hook(layer, inputs, kwargs, output)``.
    """
    return _registered(model, "register_forward_hook", hooks, with_kwargs)


def forward_pre_hooks(model: nn.Module, hooks: Hooks, *, with_kwargs: bool = False) -> AbstractContextManager[None]:
    """Call ``hook(layer, inputs)`` before each named layer, or ``hook(layer, inputs, kwargs)`` if ``with_kwargs``.

    Names and removal are those of ``forward_hooks``.
    """
    return _registered(model, "register_forward_pre_hook", hooks, with_kwargs)


def first_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The first input of a call, whether it was passed by position or by name, as in ``layer(input=x)``."""
    return args[0] if args else next(iter(kwargs.values()), None)


@contextmanager
def capture_inputs(model: nn.Module, names: Collection[str], *, stop: bool = False) -> Iterator[dict[str, Tensor]]:
    """Layer name → the first input of its latest call, filled while the model runs within the ``with`` block.

    Args:
        stop: whether the forward pass, and with it the ``with`` block, ends as soon as every layer has been reached.
    """
    captured: dict[str, Tensor] = {}

    def capture(name: str) -> Hook:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            captured[name] = first_input(args, kwargs)
            if stop and len(captured) == len(names):
                raise StopForward

        return hook

    with suppress(StopForward), forward_pre_hooks(model, {name: capture(name) for name in names}, with_kwargs=True):
        yield captured


@contextmanager
def capture_outputs(model: nn.Module, names: Collection[str]) -> Iterator[dict[str, Tensor]]:
    """Layer name → the output of its latest call, filled while the model runs within the ``with`` block."""
    captured: dict[str, Tensor] = {}

    def capture(name: str) -> Hook:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            captured[name] = output

        return hook

    with forward_hooks(model, {name: capture(name) for name in names}):
        yield captured
