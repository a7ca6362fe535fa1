"""Calibration: examples are run through the model, and an observer at each layer records its inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.architectures.weighted_layers import check_plain_weights, uncalled_layers
from course_lib.core.validation import error_prefix
from course_lib.data import Split, refuse_test
from course_lib.models.hooks import first_input, forward_hooks
from course_lib.quantization.observers import Observer, make_observer


def quantizable_layers(model: nn.Module, layers: Collection[str] | None = None) -> dict[str, nn.Module]:
    """Name → module of every layer with weights (see ``architectures.weighted_layers``), or of those in ``layers``.

    Raises:
        ValueError: if there is none, a name is unknown, or a weight of the model is recomputed before each call.
    """
    check_plain_weights(model)
    found = models.prunable_layers(model)
    for name in layers if layers is not None else ():
        if name not in found:
            raise ValueError(f"layers names {name!r}, which is not a convolution or linear layer of the model")
    chosen = {name: module for name, module in found.items() if layers is None or name in layers}
    if not chosen:
        raise ValueError(f"model {type(model).__name__} has no convolution or linear layer to quantize")
    return chosen


def observed_layers(model: nn.Module, layers: Collection[str] | None = None) -> dict[str, nn.Module]:
    """As ``quantizable_layers``, without layers that are never called because their module uses their weight itself."""
    uncalled = uncalled_layers(model)
    return {name: layer for name, layer in quantizable_layers(model, layers).items() if name not in uncalled}


def check_calibration(split: Split) -> None:
    """Raise an error if ``split`` is the test split, or empty."""
    refuse_test(split, "used for calibration")
    if len(split) == 0:
        raise ValueError(f"calibration split {split.name!r} of {split.dataset} is empty; a few hundred are enough")


def calibrate(
    model: nn.Module,
    calibration: Split,
    method: str = "min-max",
    *,
    bits: int = 8,
    symmetric: bool = False,
    layers: Collection[str] | None = None,
    batch_size: int = 64,
) -> dict[str, Observer]:
    """Layer → observer that has seen the inputs of the layer; ``seen`` is 0 if no example reached it.

    Args:
        calibration: train or validation examples; a few hundred are enough. Padding counts as values too.
        method: one of ``OBSERVERS``.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if it is empty, the model has nothing to quantize, or an activation is NaN or infinite.
    """
    check_calibration(calibration)
    observers = {name: make_observer(method, bits, symmetric) for name in observed_layers(model, layers)}
    watch_inputs(model, calibration, {name: observer.observe for name, observer in observers.items()}, batch_size)
    return observers


@torch.no_grad()
def watch_inputs(
    model: nn.Module, split: Split, watchers: Mapping[str, Callable[[Tensor], Any]], batch_size: int = 64
) -> None:
    """Run ``split`` through the model in eval mode; each watcher is called with the inputs of its layer."""
    device = next(model.parameters()).device
    hooks = {name: partial(_watch, name, watch) for name, watch in watchers.items()}
    with models.evaluating(model), forward_hooks(model, hooks, with_kwargs=True):
        for inputs, _ in split.batches(batch_size):
            models.call(model, models.to_device(inputs, device))


def _watch(
    name: str, watch: Callable[[Tensor], Any], _: nn.Module, args: tuple[Any, ...], kwargs: Any, output: Any
) -> None:
    with error_prefix(f"input of layer {name!r}"):
        watch(first_input(args, kwargs))
