"""Compound scaling against torchvision's EfficientNets."""

from __future__ import annotations

import pytest
import torch

from course_lib import search
from course_lib.search import compound


@pytest.mark.parametrize("name", sorted(search.PUBLISHED))
def test_scaled_stages_are_those_of_torchvision(name):
    from torchvision import models as torchvision_models

    with torch.device("meta"):
        net = getattr(torchvision_models, f"efficientnet_{name}")()
    stages = search.scaled_stages(search.PUBLISHED[name])
    for stage, blocks in zip(stages, net.features[1:-1], strict=True):
        assert len(blocks) == stage.layers and blocks[-1].block[-1][0].out_channels == stage.channels
    width = search.PUBLISHED[name].width
    assert net.features[0][0].out_channels == search.scaled_channels(compound.B0_STEM, width)


def test_the_authors_bases_double_the_work_and_are_among_the_candidates():
    assert search.work_factor() == pytest.approx(2, abs=0.1)
    found = list(search.candidate_bases())
    assert (1.2, 1.1, 1.15) in found
    assert all(abs(search.work_factor(*bases) - 2) <= 0.1 + 1e-9 for bases in found)
    assert all(min(bases) >= 1 for bases in found)


def test_no_scaling_at_phi_zero_and_the_formula_at_one():
    assert search.compound_scaling(0) == search.Scaling(1.0, 1.0, 224)
    one = search.compound_scaling(1)
    assert (one.depth, one.width, one.resolution) == (1.2, 1.1, 258)


def test_impossible_bases_are_refused():
    with pytest.raises(ValueError, match=r"beta must be at least 1, got 0\.9"):
        search.compound_scaling(1, beta=0.9)
    with pytest.raises(ValueError, match="target must be at least 1"):
        list(search.candidate_bases(target=0.5))


def test_channels_are_multiples_of_eight_and_never_more_than_a_tenth_smaller():
    for channels in range(8, 400, 7):
        for width in (0.5, 0.75, 1.1, 1.4, 2.0):
            found = search.scaled_channels(channels, width)
            assert found % 8 == 0 and found >= 0.9 * channels * width
