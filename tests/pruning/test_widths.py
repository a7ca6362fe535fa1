"""Channel counts by ratio, threshold and budget; the estimate of MACs is exact."""

from __future__ import annotations

import pytest
import torch

from course_lib import profiling, pruning
from course_lib.pruning import couple, keep_best, prune_channels, uniform_counts


def test_the_most_important_channels_stay_in_their_order():
    kept = keep_best({"a": torch.tensor([0.1, 3.0, 1.0, 3.0])}, {"a": 2})
    assert kept["a"].tolist() == [1, 3]
    assert keep_best({"a": torch.ones(4)}, {"a": 2})["a"].tolist() == [0, 1]
    with pytest.raises(ValueError, match="between 1 and 4, got 0"):
        keep_best({"a": torch.ones(4)}, {"a": 0})


def test_the_estimate_of_work_is_exact_and_a_budget_is_kept(resnet, bert):
    pixels = torch.randn(1, 3, 32, 32)
    coupling = couple(resnet)
    work = pruning.WorkEstimate(resnet, pixels, coupling)
    counts = pruning.counts_for_macs(work, coupling.prunable(), 3.7, multiple=8)
    small = prune_channels(resnet, counts, coupling=coupling).model
    assert profiling.count_macs(small, pixels) == round(work(counts))
    assert 3.7 <= work.total / work(counts) < 4.3
    tokens = {name: torch.ones(1, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    half = uniform_counts(couple(bert).prunable(), 0.5)
    estimated = pruning.WorkEstimate(bert, tokens)(half)
    assert profiling.count_macs(prune_channels(bert, half).model, tokens) == round(estimated)


def test_one_threshold_takes_more_from_groups_with_low_scores():
    groups = {name: pruning.Group(name, "filter", 10, ()) for name in "ab"}
    scores = {"a": torch.linspace(0.1, 1, 10), "b": torch.linspace(1.1, 2, 10)}
    assert pruning.global_counts(groups, scores, 0.5) == {"a": 1, "b": 10}


def test_bad_ratios_are_named(resnet):
    with pytest.raises(ValueError, match="would leave 0 of 64 channels"):
        prune_channels(resnet, 0.001)
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\], got 1.5"):
        prune_channels(resnet, 1.5)
    with pytest.raises(ValueError, match=r"factor must be at most [0-9.]+ with"):
        pruning.counts_for_macs(pruning.WorkEstimate(resnet, torch.randn(1, 3, 32, 32)), couple(resnet).prunable(), 1e6)
    with pytest.raises(ValueError, match="no group of unit 'head'"):
        prune_channels(resnet, 0.5, unit="head")
