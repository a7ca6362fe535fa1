"""Embeddings on uniform grids: rows that occur often get finer steps than rare ones.

A row that occurs in a share p of the examples has p times the Fisher information of one that is always there. How
often it occurs is known much better (from all sentences, without a backward pass) than how much each occurrence
matters, so occurrences count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.coding.uniform import quantize_levels, set_levels, storable_steps
from course_lib.data import Split, refuse_test
from course_lib.models.hooks import StopForward, forward_pre_hooks

PRIOR = 0.5


def embedding_counts(model: nn.Module, split: Split) -> dict[str, Tensor]:
    """Name of each embedding's weight → mean number of times that each row occurs in an example, ``(rows,)``.

    Every row counts as if it occurred half a time more in all: words that these examples lack get coarse steps, not
    infinite ones.

    Raises:
        TestSplitError: if ``split`` is the test split.

    Source: Lidstone, Note on the General Case of the Bayes–Laplace Formula, 1920 (counts plus a constant).
    """
    refuse_test(split, "used to count words")
    embeddings = {name: module for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    counts = {f"{name}.weight": torch.full((module.num_embeddings,), PRIOR) for name, module in embeddings.items()}
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    hooks: dict[str, Callable[..., Any]] = {
        name: _counter(count) for name, count in zip(embeddings, counts.values(), strict=True)
    }
    with torch.no_grad(), models.evaluating(model), forward_pre_hooks(model, hooks | dict.fromkeys(norms[:1], _stop)):
        for inputs, _ in split.batches(1):  # one at a time, so that there is no padding and each has its own positions
            with suppress(StopForward):
                models.forward(model, inputs)
    return {name: count / max(len(split), 1) for name, count in counts.items()}


def _counter(count: Tensor) -> Callable[..., None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        count.add_(torch.bincount(inputs[0].flatten().cpu(), minlength=len(count)))

    return hook


def _stop(*_: Any) -> None:
    raise StopForward


def row_fisher(fisher: Tensor, count: Tensor) -> Tensor:
    """Fisher information of each row of an embedding, ``(rows,)``: that of an occurrence times its count.

    Args:
        fisher: ``(rows, width)``; its sum over the rows is kept.
        count: ``(rows,)``, mean occurrences in an example.
    """
    return fisher.mean(dim=1).sum() * count / count.sum()


def quantize_embeddings(
    model: nn.Module, fisher: Mapping[str, Tensor], c: float, counts: Mapping[str, Tensor]
) -> nn.Module:
    """Put each row of the embeddings of ``model`` onto its own grid, ``c / sqrt(Fisher information)``, in place.

    Args:
        counts: from ``embedding_counts``; an embedding that is not in it has one step.
    """
    levels, steps = {}, {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            key = f"{name}.weight"
            f = row_fisher(fisher[key], counts.get(key, torch.ones(module.num_embeddings)))
            steps[key] = storable_steps(c / f.clamp(min=torch.finfo().tiny).sqrt()).half()
            levels[key] = quantize_levels(module.weight.detach(), steps[key].float())
    return set_levels(model, levels, steps)
