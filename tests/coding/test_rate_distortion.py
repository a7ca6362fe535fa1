"""RDOQ and dependent quantization: hand-worked choices, exhaustive search, the decoder, the gain over uniform grids."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from course_lib import coding
from course_lib.coding.rate_distortion import ODD_STATES, TRANSITIONS


def flat(values):
    """A code in which every level costs one bit."""
    return torch.ones(values.shape, dtype=torch.float64)


def unary(values):
    """A code in which level q costs 2 |q| + 1 bits."""
    return 2.0 * values.abs().double() + 1


def weights(size=400, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def test_bits_are_the_negative_logarithms_of_the_shares():
    bits = coding.empirical_bits(torch.tensor([0, 0, 0, 0, 1, 1, -2, 3]))
    assert bits(torch.tensor([0, 1, -2, 3])).tolist() == pytest.approx([1, 2, 3, 3], abs=0.2)
    table = torch.tensor([1, 0.5, 4, 2, 0.5, 1])  # from -2 to 3; what does not occur counts as half once
    assert bits(torch.tensor([0])).item() == pytest.approx(-math.log2(4 / table.sum()))
    assert bits(torch.tensor([2])).item() == pytest.approx(-math.log2(0.5 / table.sum()))
    assert bits(torch.tensor([99])).item() == bits(torch.tensor([2])).item()


def test_without_a_price_of_bits_it_is_rounding():
    w = weights()
    assert torch.equal(coding.rdoq(w, 0.3, 0.0, unary), coding.quantize_levels(w, torch.tensor(0.3)))


def test_a_weight_is_rounded_down_where_the_bits_are_worth_more_than_the_error():
    """1.4 on a grid of 1: level 1 costs 0.16 and 3 bits, level 0 costs 1.96 and 1 bit: λ = 0.9 divides them."""
    w = torch.tensor([1.4])
    assert coding.rdoq(w, 1.0, 0.89, unary).tolist() == [1]
    assert coding.rdoq(w, 1.0, 0.91, unary).tolist() == [0]


def test_a_sensitive_weight_keeps_its_level():
    w = torch.tensor([1.4, 1.4, -1.4])
    assert coding.rdoq(w, 1.0, 1.0, unary, torch.tensor([1.0, 2.0, 2.0])).tolist() == [0, 1, -1]


@pytest.mark.parametrize("lam", [0.02, 0.1, 0.5])
def test_no_level_between_zero_and_the_nearest_is_cheaper(lam):
    w, step = weights(60), 0.4
    found = coding.rdoq(w, step, lam, unary)
    for value, level in zip(w.tolist(), found.tolist(), strict=True):
        nearest = round(value / step)
        choices = {nearest, 0, nearest - (nearest > 0) + (nearest < 0)}
        costs = {q: (value - q * step) ** 2 + lam * (2 * abs(q) + 1) for q in choices}
        assert costs[level] == pytest.approx(min(costs.values()), abs=1e-6)


def test_rdoq_spends_fewer_bits_for_the_same_error():
    """At equal error, by interpolation of the uniform curve."""
    w = torch.distributions.Laplace(0.0, 1.0).icdf(torch.linspace(0.001, 0.999, 4001))
    point = coding.rdoq_point(w, 1.0, 0.12)
    steps = [0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 1.7]
    uniform = [coding.rdoq_point(w, step, 0.0) for step in steps]
    after = next(i for i, one in enumerate(uniform) if one.error > point.error)
    low, high = uniform[after - 1], uniform[after]
    share = (point.error - low.error) / (high.error - low.error)
    assert point.bits < low.bits + share * (high.bits - low.bits) - 0.01


@pytest.mark.parametrize("states", [4, 8])
def test_the_tables_are_those_of_a_trellis(states):
    """From each state two different ones; each is reached from two; both grids are used alike."""
    table = TRANSITIONS[states]
    assert all(even != odd for even, odd in table)
    assert sorted(itertools.chain(*table)) == sorted([*range(states)] * 2)
    assert len(ODD_STATES[states]) == states // 2


def test_dependent_values_by_hand():
    """Four states: 0 –(1)→ 2 –(1)→ 3 –(2)→ 3 –(-1)→ 1 –(0)→ 2. States 2 and 3 use the odd grid."""
    assert coding.dependent_values(torch.tensor([1, 1, 2, -1, 0, 3]), 0.5).tolist() == [1, 0.5, 1.5, -0.5, 0, 2.5]


@pytest.mark.parametrize("states", [4, 8])
@pytest.mark.parametrize("lam", [0.0, 0.05])
def test_the_path_is_the_best_of_all(states, lam):
    """All level sequences of five weights with levels from -3 to 3."""
    w, step = weights(5, seed=states) * 0.8, 0.5
    found = coding.dependent_quantize(w, step, lam, unary, states)

    def cost(levels):
        values = coding.dependent_values(levels, step, states)
        return ((w - values).square().sum() + lam * unary(levels).sum()).item()

    best = min(cost(torch.tensor(one)) for one in itertools.product(range(-3, 4), repeat=5))
    assert cost(found) == pytest.approx(best, abs=1e-5)


def test_dependent_quantization_beats_a_uniform_grid_of_the_same_rate():
    """About 1 dB, for a grid so fine that both spend the same bits (Marcellin and Fischer, 1990)."""
    w, step = (torch.rand(1500, generator=torch.Generator().manual_seed(1)) - 0.5) * 30, 0.5
    gains = []
    for states in (4, 8):
        levels = coding.dependent_quantize(w, step, 0.0, flat, states)
        error = (w - coding.dependent_values(levels, step, states)).square().mean().item()
        gains.append(10 * math.log10((2 * step) ** 2 / 12 / error))
    assert 0.8 < gains[0] < gains[1] < 1.5


def test_nothing_is_nothing():
    empty = torch.zeros(0)
    assert coding.dependent_quantize(empty, 1.0, 0.1, flat).tolist() == []
    assert coding.dependent_values(empty.int(), 1.0).tolist() == []


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="states must be one of 4, 8; got 5"):
        coding.dependent_quantize(weights(3), 1.0, 0.0, flat, states=5)
    with pytest.raises(ValueError, match="lam must be at least 0"):
        coding.rdoq(weights(3), 1.0, -1.0, flat)
    with pytest.raises(ValueError, match="lam must be at least 0"):
        coding.dependent_quantize(weights(3), 1.0, float("nan"), flat)
    with pytest.raises(ValueError, match="finite"):
        coding.rdoq(torch.tensor([float("nan")]), 1.0, 0.0, flat)
