"""Orders of steps that cannot work, each with the order that does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.pipeline.schema import PipelineError

ON_GRID = ("quantize", "share")

# (later step, earlier steps, why not and what to do instead)
IMPOSSIBLE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("fine_tune", ON_GRID, "training would move the weights off their grid; put fine_tune before it, or use "
     "quantize with method qat, which trains on the grid"),
    ("distil", ("prune", "remove_channels", "factorize", *ON_GRID), "a new student does not keep what was done to the "
     "model; put distil first, or use fine_tune, which trains the present model on the original's outputs"),
    ("remove_channels", ON_GRID, "the scales belong to the channels that would go; put remove_channels first"),
    ("remove_channels", ("factorize",), "the factors couple channels that are no longer there; put it first"),
    ("factorize", ON_GRID, "the factors of rounded weights would not lie on the grid; put factorize first"),
    ("factorize", ("prune",), "the factors of a sparse matrix are dense, so its zeros are lost; put factorize first "
     "and prune the factors"),
    ("quantize", ON_GRID, "the weights lie on a grid already; keep one of the two"),
    ("share", ON_GRID, "the weights lie on a grid already; keep one of the two"),
)  # fmt: skip


def check_order(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Check that each step can follow the ones before it.

    Args:
        steps: name and arguments of each, in their order.

    Raises:
        PipelineError: names the two steps, the reason and an order that works.
    """
    if not steps:
        raise PipelineError("a pipeline needs at least one step, for example `- prune: {sparsity: 0.9}`")
    names = [name for name, _ in steps]
    for index, (name, arguments) in enumerate(steps):
        if "code" in names[:index]:
            raise PipelineError(f"step {index + 1} ({name}) comes after code, which writes the file; put code last")
        kind = "fine_tune" if name == "prune" and arguments.get("epochs") else name  # gradual pruning trains
        for later, earlier, reason in IMPOSSIBLE:
            found = next((before for before in names[:index] if before in earlier), None)
            if kind == later and found:
                raise PipelineError(f"step {index + 1} ({name}) cannot come after {found}: {reason}")
