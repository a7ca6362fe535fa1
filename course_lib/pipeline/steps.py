"""Steps by name: each is a function ``(model, context, **arguments) -> model`` that does not change its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from course_lib.pipeline.context import Context
from course_lib.pipeline.learning import distil, fine_tune
from course_lib.pipeline.quantizing import quantize, share
from course_lib.pipeline.shrinking import factorize, prune, remove_channels


def code(model: nn.Module, _: Context, **form: Any) -> nn.Module:
    """The model as it is: the arguments say how its file is written (see ``cache.write_model``)."""
    return model


STEPS: dict[str, Callable[..., nn.Module]] = {
    "prune": prune, "remove_channels": remove_channels, "factorize": factorize, "distil": distil,
    "fine_tune": fine_tune, "quantize": quantize, "share": share, "code": code,
}  # fmt: skip
"""Name → function; their arguments are described in ``schema.yaml``."""
