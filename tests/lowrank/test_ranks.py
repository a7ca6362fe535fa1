"""Break-even points and energy, against counting."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

from course_lib import lowrank

SIZE = some.integers(1, 60)


@given(SIZE, SIZE)
def test_break_even_is_the_last_rank_that_is_smaller(rows, columns):
    rank = lowrank.break_even_rank(rows, columns)
    assert rank * (rows + columns) < rows * columns <= (rank + 1) * (rows + columns)


def test_break_even_of_a_square_is_just_below_half():
    assert lowrank.break_even_rank(512, 512) == 255 and lowrank.break_even_rank(1, 9) == 0


@given(SIZE, SIZE, some.sampled_from([1, 3, 5]), some.floats(0.05, 1.0))
def test_the_tucker_share_hits_the_size(out, into, kernel, size):
    share = lowrank.tucker_share(out, into, kernel, size)
    held = share * into**2 + kernel**2 * share**2 * into * out + share * out**2
    assert held == pytest.approx(size * kernel**2 * into * out)


def test_energy_grows_to_one_and_tells_the_error():
    weight = torch.randn(9, 14, generator=torch.Generator().manual_seed(0))
    kept = lowrank.energy(lowrank.singular_values(weight))
    assert kept[-1] == pytest.approx(1) and (kept.diff() >= 0).all()
    for rank in (1, 4, 9):
        first, second = lowrank.svd_factors(weight, rank)
        assert lowrank.relative_error(weight, second @ first) ** 2 == pytest.approx(1 - kept[rank - 1].item(), abs=1e-5)


@pytest.mark.parametrize(("share", "rank"), [(0.0, 1), (0.5, 1), (0.64, 1), (0.65, 2), (0.9, 2), (1.0, 3)])
def test_the_rank_is_the_smallest_that_keeps_the_share(share, rank):
    assert lowrank.rank_for_energy(torch.tensor([8.0, 5.099019, 3.162277]), share) == rank  # squares 64, 26, 10


def test_zeros_need_rank_one_and_nothing_has_no_rank():
    assert lowrank.rank_for_energy(torch.zeros(4), 0.9) == 1
    with pytest.raises(ValueError, match="must not be empty"):
        lowrank.rank_for_energy(torch.zeros(0), 0.9)
    with pytest.raises(ValueError, match="share must lie in"):
        lowrank.rank_for_energy(torch.ones(3), 1.1)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Linear(64, 96), "svd"),
        (nn.Conv2d(32, 48, 3), "svd"),
        (nn.Conv2d(32, 48, 3), "tucker"),
        (nn.Conv2d(32, 48, 3), "cp"),
        (nn.Embedding(500, 64), "embedding"),
    ],
)
def test_ranks_for_a_size_give_about_that_size_in_multiples(layer, kind):
    for size in (0.3, 0.5):
        assert all(rank % 8 == 0 for rank in lowrank.ranks_for_size(layer, kind, size) or ())
        ranks = lowrank.ranks_for_size(layer, kind, size, multiple=1)
        assert ranks is not None and ranks != lowrank.ranks_for_size(layer, kind, 0.1, multiple=1)
        held = lowrank.factored_parameters(layer, kind, ranks)
        assert held == lowrank.parameters(lowrank.factor_layer(layer, kind, ranks))
        assert held == pytest.approx(size * lowrank.parameters(layer), rel=0.1)


def test_where_nothing_is_saved_there_are_no_ranks():
    assert lowrank.ranks_for_size(nn.Linear(8, 8), "svd", 0.9) is None
    with pytest.raises(ValueError, match="size must"):
        lowrank.ranks_for_size(nn.Linear(8, 8), "svd", 1.5)
