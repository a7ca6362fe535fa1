"""The paired bootstrap against resampling example by example."""

import math

import pytest
import torch

from course_lib import report


def test_identical_answers_retain_everything():
    correct = torch.rand(500) > 0.2
    assert report.paired_bootstrap(correct, correct) == (1.0, 1.0)


def test_the_interval_matches_redrawing_examples_one_by_one():
    generator = torch.Generator().manual_seed(0)
    before = torch.rand(400, generator=generator) < 0.9
    after = torch.where(torch.rand(400, generator=generator) < 0.05, ~before, before)
    rows = torch.randint(400, (4000, 400), generator=generator)
    ratios = after[rows].sum(1) / before[rows].sum(1)
    expected = ratios.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.double))
    assert report.paired_bootstrap(before, after, draws=4000) == pytest.approx(expected.tolist(), abs=0.002)


def test_pairing_narrows_the_interval():
    before = torch.arange(1000) < 900
    paired, shuffled = before.clone(), before.roll(500)
    paired[:10] = False
    shuffled[500:510] = False
    narrow, wide = (report.paired_bootstrap(before, after) for after in (paired, shuffled))
    assert narrow[1] - narrow[0] < 0.5 * (wide[1] - wide[0])


def test_the_same_seed_gives_the_same_interval():
    before, after = torch.rand(100) > 0.3, torch.rand(100) > 0.4
    assert report.paired_bootstrap(before, after) == report.paired_bootstrap(before, after)


def test_seeds_that_all_answer_alike_tell_no_more_than_one():
    before, after = torch.arange(1000) < 900, torch.arange(1000) < 880
    one, three = (report.paired_bootstrap(before, answers) for answers in (after, after.expand(3, -1)))
    assert three == pytest.approx(one, abs=0.002)


def test_examples_and_seeds_are_redrawn_together():
    generator = torch.Generator().manual_seed(0)
    before = torch.rand(3, 300, generator=generator) < 0.9
    after = torch.where(torch.rand(3, 300, generator=generator) < torch.tensor([[0.02], [0.1], [0.2]]), False, before)
    ratios = []
    for _ in range(3000):
        rows, seeds = torch.randint(300, (300,), generator=generator), torch.randint(3, (3,), generator=generator)
        ratios.append(after[seeds][:, rows].sum() / before[seeds][:, rows].sum())
    expected = torch.stack(ratios).double().quantile(torch.tensor([0.025, 0.975], dtype=torch.double))
    assert report.paired_bootstrap(before, after, draws=4000) == pytest.approx(expected.tolist(), abs=0.006)


def test_one_model_stands_against_all_seeds():
    before, after = torch.arange(500) < 450, torch.rand(3, 500, generator=torch.Generator().manual_seed(0)) < 0.8
    low, high = report.paired_bootstrap(before, after)
    assert (low, high) == report.paired_bootstrap(before.expand(3, -1), after)
    assert low < after.double().mean() / 0.9 < high


def test_nothing_right_before_gives_no_interval():
    nothing = torch.zeros(5, dtype=torch.bool)
    assert all(math.isnan(limit) for limit in report.paired_bootstrap(nothing, ~nothing))


@pytest.mark.parametrize(("before", "after"), [(3, 4), (0, 0), ((2, 5), (3, 5)), ((2, 5), 5)])
def test_answers_that_do_not_pair_are_refused(before, after):
    with pytest.raises(ValueError, match="same length above 0"):
        report.paired_bootstrap(torch.ones(before), torch.ones(after))
