"""What the checks of exercise 04 expect of scores, channels, state dicts and masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.learning.exercises.lesson_04 import reference
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_tensor


def expect_scores(scores: Any, producer: Tensor, consumer: Tensor) -> None:
    """One score per channel: the mean of two votes, each normalised to mean 1."""
    where = f"layers of shape {tuple(producer.shape)} and {tuple(consumer.shape)}"
    expect_tensor("the scores", scores, shape=(len(producer),), given=where, hint="one number for each channel")
    advice = "divide both norms by the mean of their own layer, then average; a layer of zeros gives every channel 1"
    expect_close("scores", scores, reference.channel_scores(producer, consumer), given=where, hint=advice)


def expect_kept(kept: Any, scores: Tensor, ratio: float, multiple: int) -> None:
    """Indices of the highest scores in increasing order, as many as the nearest multiple."""
    expected = reference.channels_to_keep(scores, ratio, multiple)
    where = f"{len(scores)} channels, a ratio of {ratio:.3g} and a multiple of {multiple}"
    listed, advice = isinstance(kept, list | tuple), "`tolist()` makes one"
    expect(listed, f"return a list of indices, yours is a {type(kept).__name__}", given=where, hint=advice)
    advice = "the nearest multiple (halves go up), at least one multiple, at most all channels"
    expect_equal("number of kept channels", len(kept), len(expected), given=where, hint=advice)
    advice = "keep the highest scores, of equals the lower index; return the indices in increasing order"
    expect_equal("kept channels", kept, expected, given=where, hint=advice)


def expect_state(small: Any, state: dict[str, Tensor], stem: list[int], inner: list[int]) -> None:
    """All tensors of the smaller network, with the right channels."""
    advice = "which channels belong to the stream, and which to the block?"
    _expect_tensors(small, reference.shrink(state, stem, inner), f"stem={stem}, inner={inner}", advice)


def expect_heads(small: Any, layer: dict[str, Tensor], heads: int, keep: list[int]) -> None:
    """All tensors of the attention layer, with the right heads."""
    advice = "query, key and value lose rows h·size … h·size + size - 1 of a head h, the output layer these columns"
    _expect_tensors(small, reference.keep_heads(layer, heads, keep), f"{heads} heads, keep={keep}", advice)


def _expect_tensors(found: Any, expected: dict[str, Tensor], where: str, advice: str) -> None:
    """A dictionary with these names, shapes and values."""
    expect(isinstance(found, dict), f"return a dictionary of tensors, yours is a {type(found).__name__}")
    expect_equal("names of the tensors", sorted(found), sorted(expected), given=where, hint="keep every name")
    for name, tensor in expected.items():
        if tensor.dim():
            expect_tensor(name, found[name], shape=tensor.shape, given=where, hint=advice)
        expect_equal(name, found[name], tensor, given=where, hint=f"the shape is right, the entries are not: {advice}")


def expect_two_four(mask: Any, weight: Tensor) -> None:
    """A boolean mask with the two largest magnitudes of every four."""
    advice = "booleans, True and False, not numbers"
    expect_tensor("the mask", mask, shape=weight.shape, dtype=torch.bool, hint=advice)
    counts = mask.reshape(len(weight), -1, 4).sum(dim=-1)
    advice = "keep exactly two of every four; True means keep"
    expect_equal("kept weights in each four", counts, torch.full_like(counts, 2), given=weight, hint=advice)
    advice = "rank by absolute value within each four of a row; of equal magnitudes keep the left ones"
    expect_equal("mask", mask, reference.two_four_mask(weight), given=weight, hint=advice)
