"""The page's figures are reproduced, and every figure says how it is known."""

from dataclasses import fields

import pytest

from course_lib.calculator import TECHNIQUES, Figure, Outcome, estimate

# technique → the page's own words
OVERVIEW = {
    "pruning": ("Neural Network Pruning", "10x smaller", "70 %", "10x faster", "Limited (specialized)"),
    "quantization": ("Model Quantization", "4x smaller", "95 %", "4x faster", "Excellent (GPU/CPU)"),
    "distillation": ("Knowledge Distillation", "10x smaller", "80 %", "10x faster", "Universal"),
    "low_rank": ("Low-Rank Factorization", "3x smaller", "92 %", "2.5x faster", "Good (optimized BLAS)"),
}


def test_the_headline_of_the_page_is_reproduced_exactly():
    claim = estimate("pruning", 175e9, 0.9).claim
    assert [str(getattr(claim, field.name)) for field in fields(claim)] == [
        "Neural Network Pruning", "17.5B params", "10x smaller", "70 %", "10x faster", "90 % (70 GB)",
        "Limited (specialized)",
    ]  # fmt: skip
    assert claim.memory.value == pytest.approx(70e9) and claim.ratio.value == pytest.approx(10)


@pytest.mark.parametrize("technique", list(OVERVIEW))
def test_the_overview_of_the_page_is_reproduced_exactly(technique):
    claim = estimate(technique).claim
    shown = (claim.technique, claim.ratio, claim.quality, claim.speedup, claim.support)
    assert tuple(map(str, shown)) == OVERVIEW[technique]


@pytest.mark.parametrize("technique", list(TECHNIQUES))
def test_every_figure_says_how_it_is_known(technique):
    result = estimate(technique)
    for field in fields(Outcome):
        assert getattr(result.claim, field.name).source == "page claim"
        assert getattr(result.honest, field.name).source == "estimate"


def test_a_figure_of_unknown_source_is_refused():
    with pytest.raises(ValueError, match="source must be one of 'page claim', 'estimate', 'measured'"):
        Figure(1.0, "x", "1x", "rumour")
