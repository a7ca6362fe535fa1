"""Models from descriptions: the name of a builder and its arguments.

An *architecture* is a plain dict ``{"builder": name, "arguments": {...}}``. ``build`` makes a model from it and
``describe`` returns it. It is part of every stored file, which needs nothing else to be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from course_lib.architectures import factorized, folded_batchnorm, input_quantizers, layer_sizes
from course_lib.core.validation import check_choice

ARCHITECTURE_ATTRIBUTE = "course_architecture"
RESIZING = ("widths", "removed", "ranks")
ADDITIONS = (*RESIZING, "folds", "input_grids")

Builder = Callable[..., nn.Module]
BUILDERS: dict[str, Builder] = {}


def builder(name: str) -> Callable[[Builder], Builder]:
    """Register a function that makes a module from JSON-able keyword arguments."""

    def register(function: Builder) -> Builder:
        BUILDERS[name] = function
        return function

    return register


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Make an untrained model from its description, in eval mode.

    Beside the builder's own arguments there may be ``widths`` and ``removed`` (see ``layer_sizes``), ``ranks``
    (see ``factorized``), ``folds`` (see ``folded_batchnorm``) and ``input_grids`` (see ``input_quantizers``).

    Raises:
        ValueError: if the builder is unknown or cannot use the arguments.
    """
    name, arguments = architecture.get("builder"), dict(architecture.get("arguments", {}))
    check_choice("builder", name, tuple(BUILDERS))
    own = {key: value for key, value in arguments.items() if key not in ADDITIONS}
    changes = {key: value for key, value in arguments.items() if key in RESIZING}
    try:
        make = partial(BUILDERS[str(name)], **own)
        if "ranks" in changes:
            make = partial(factorized.with_factors, make, changes["ranks"])
        model = layer_sizes.resized(make, changes.get("widths", {}), changes.get("removed", ())) if changes else make()
        folded_batchnorm.replace_norms(model, arguments.get("folds", ()))
        input_quantizers.add_input_grids(model, arguments.get("input_grids", {}))
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"builder {name!r} cannot use the arguments {arguments}: {error}") from error
    setattr(model, ARCHITECTURE_ATTRIBUTE, {"builder": name, "arguments": arguments})
    return model.eval()


def describe(model: nn.Module) -> dict[str, Any]:
    """The description from which ``build`` makes a model of the same shape.

    Raises:
        ValueError: if the model was not made by ``build`` or ``load``.
    """
    architecture = getattr(model, ARCHITECTURE_ATTRIBUTE, None)
    if architecture is None:
        raise ValueError(
            f"model {type(model).__name__} has no description; make it with models.build or models.load, or "
            "register a builder for it with models.builder"
        )
    return architecture


def extend_argument(model: nn.Module, name: str, value: list[Any] | dict[str, Any]) -> None:
    """Extend argument ``name``, a list or a dict, in the description of ``model``, if it has a description."""
    if hasattr(model, ARCHITECTURE_ATTRIBUTE):
        architecture = describe(model)
        old = architecture["arguments"].get(name, type(value)())
        extended = {**old, **value} if isinstance(value, dict) else [*old, *value]
        arguments = {**architecture["arguments"], name: extended}
        setattr(model, ARCHITECTURE_ATTRIBUTE, {**architecture, "arguments": arguments})
