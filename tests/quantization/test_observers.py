"""The range that each observer chooses, against its definition."""

import pytest
import torch

from course_lib.quantization import OBSERVERS, make_observer
from course_lib.quantization.observers import EntropyObserver, MovingAverageObserver, MSEObserver, PercentileObserver


def normal(count=20_000, seed=0):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_min_max_contains_every_value():
    observer = make_observer("min-max")
    for batch in (torch.tensor([1.0, 2.0]), torch.tensor([-3.0, 0.5])):
        observer.observe(batch)
    assert observer.range() == (-3.0, 2.0)
    assert observer.params().scale.item() == pytest.approx(5 / 255)


def test_the_moving_average_moves_a_tenth_of_the_way():
    observer = MovingAverageObserver()
    for high in (1.0, 2.0, 2.0):
        observer.observe(torch.tensor([0.0, high]))
    assert observer.range() == pytest.approx((0.0, 1 + 0.1 + 0.1 * 0.9))
    with pytest.raises(ValueError, match=r"momentum must lie in \(0, 1\]"):
        MovingAverageObserver(momentum=0.0)


@pytest.mark.parametrize("share", [0.9, 0.99, 0.999])
def test_the_percentile_clips_its_fraction(share):
    x = normal()
    observer = PercentileObserver(share=share)
    for batch in x.split(1000):
        observer.observe(batch)
    low, high = observer.range()
    assert ((x >= low) & (x <= high)).float().mean().item() == pytest.approx(share, abs=0.002)
    full = PercentileObserver(share=1.0)
    full.observe(x)
    assert full.range() == pytest.approx((x.min().item(), x.max().item()))


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_no_other_clip_has_a_smaller_squared_error(bits):
    x = torch.cat([normal(), torch.tensor([25.0])])
    observer = MSEObserver(bits)
    observer.observe(x)
    chosen = observer.error(*observer.range())
    assert chosen <= min(observer.error(-low, high) for low, high in [(2, 2), (3, 3), (4, 4), (4.1, 25)])
    exact = torch.quantize_per_tensor(
        x, observer.params().scale.item(), int(observer.params().zero_point), torch.quint8
    )
    if bits == 8:
        assert chosen == pytest.approx((exact.dequantize() - x).square().mean().item(), rel=0.1)


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
def test_an_outlier_is_clipped_and_few_bits_clip_more(method):
    x = torch.cat([normal(), torch.tensor([60.0])])
    highs = []
    for bits in (8, 4):
        observer = make_observer(method, bits)
        observer.observe(x)
        highs.append(observer.range()[1])
    assert highs[0] < 60
    assert highs[1] <= highs[0]


def test_divergence_grows_when_the_bulk_is_cut():
    observer = EntropyObserver(4)
    observer.observe(normal())
    assert observer.divergence(-0.5, 0.5) > observer.divergence(-3.0, 3.0)


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
def test_a_histogram_grows_without_seeing_values_twice(method):
    x = normal()
    together, in_turns = make_observer(method), make_observer(method)
    together.observe(x)
    for batch in x.abs().sort().indices.split(2000):
        in_turns.observe(x[batch])
    assert in_turns.counts.sum() == len(x)
    assert in_turns.range() == pytest.approx(together.range(), rel=0.1)


@pytest.mark.parametrize("method", OBSERVERS)
def test_constant_values_zeros_and_bad_values(method):
    zeros = make_observer(method)
    zeros.observe(torch.zeros(10))
    assert zeros.params().scale.item() == 1.0
    constant = make_observer(method)
    constant.observe(torch.full((10,), 3.0))
    assert constant.params().scale.item() * 255 == pytest.approx(3.0, rel=0.03)
    with pytest.raises(ValueError, match="nothing was observed"):
        make_observer(method).params()
    with pytest.raises(ValueError, match="x holds NaN or infinity in 1 of 2"):
        make_observer(method).observe(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match="x is empty"):
        make_observer(method).observe(torch.empty(0))
    with pytest.raises(ValueError, match="bits must be"):
        make_observer(method, bits=9)
