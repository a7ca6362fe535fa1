"""Observers record the values of an activation and choose its range: a wide one rounds coarsely, a narrow one clips.

The simple observers keep a minimum and a maximum, the others a histogram.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.core.validation import check_choice, check_fraction
from course_lib.quantization.affine import QuantParams, check_finite, choose_params, fake_quantize, integer_range

BINS = 4096
CLIPS = tuple(step / 100 for step in range(1, 101))
"""Clipping thresholds that ``MSEObserver`` and ``EntropyObserver`` try, as fractions of the largest magnitude."""

MISSING = 20.0
"""Penalty in nats for the mass of P where Q is 0, for which the true divergence is infinite."""


class Observer(abc.ABC):
    """Base class: call ``observe`` with each batch, then ``params``.

    Args:
        bits: 2 to 8.
        symmetric: signed integers around 0; else unsigned ones with a zero-point.
    """

    def __init__(self, bits: int = 8, symmetric: bool = False) -> None:
        integer_range(bits, symmetric)
        self.bits, self.symmetric = bits, symmetric
        self.seen = 0

    def observe(self, x: Tensor) -> None:
        """Update the statistics with a batch.

        Raises:
            ValueError: if it is empty, or holds NaN or infinity.
        """
        check_finite("x", x)
        self.seen += x.numel()
        self._update(x.detach().float())

    def params(self) -> QuantParams:
        """One scale and zero-point for the whole tensor.

        Raises:
            ValueError: if nothing was observed.
        """
        if not self.seen:
            raise ValueError("nothing was observed; call observe with calibration data first")
        low, high = self.range()
        return choose_params(torch.tensor(low), torch.tensor(high), self.bits, self.symmetric)

    @abc.abstractmethod
    def range(self) -> tuple[float, float]:
        """Smallest and largest value that is represented; values outside are clipped."""

    @abc.abstractmethod
    def _update(self, x: Tensor) -> None: ...


class MinMaxObserver(Observer):
    """The smallest and largest value: nothing is clipped, but one outlier makes all steps wide."""

    low, high = float("inf"), float("-inf")

    def _update(self, x: Tensor) -> None:
        self.low, self.high = min(self.low, x.min().item()), max(self.high, x.max().item())

    def range(self) -> tuple[float, float]:
        """The minimum and maximum."""
        return self.low, self.high


class MovingAverageObserver(Observer):
    """Exponential average of the smallest and largest value of each batch (Jacob et al., 2018, section 3.1).

    Args:
        momentum: weight of a new batch, in (0, 1].
    """

    def __init__(self, bits: int = 8, symmetric: bool = False, momentum: float = 0.1) -> None:
        super().__init__(bits, symmetric)
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}")
        self.momentum = momentum
        self.low = self.high = float("nan")

    def _update(self, x: Tensor) -> None:
        low, high = x.min().item(), x.max().item()
        if self.low != self.low:
            self.low, self.high = low, high
        self.low += self.momentum * (low - self.low)
        self.high += self.momentum * (high - self.high)

    def range(self) -> tuple[float, float]:
        """The averaged minimum and maximum."""
        return self.low, self.high


class HistogramObserver(MinMaxObserver):
    """Base class of observers with a histogram: counts in ``BINS`` equal bins around zero.

    If a batch does not fit, the width of all bins is doubled (two neighbours become one) until it does, so that no
    value has to be seen twice.
    """

    def __init__(self, bits: int = 8, symmetric: bool = False) -> None:
        super().__init__(bits, symmetric)
        self.limit = 0.0
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def _update(self, x: Tensor) -> None:
        super()._update(x)
        largest = max(-self.low, self.high)
        if not self.limit:
            self.limit = largest
        while largest > self.limit:
            outer = torch.zeros(BINS // 4, dtype=torch.float64)
            self.counts = torch.cat([outer, self.counts.view(-1, 2).sum(1), outer])
            self.limit *= 2
        if self.limit:
            self.counts += torch.histc(x, BINS, -self.limit, self.limit).double()

    @property
    def centres(self) -> Tensor:
        """Middle of each bin."""
        return (torch.arange(BINS, dtype=torch.float64) + 0.5) * (2 * self.limit / BINS) - self.limit

    def range(self) -> tuple[float, float]:
        """The chosen range; (0, 0) if all values are 0."""
        return self._clipped() if self.limit else (0.0, 0.0)

    @abc.abstractmethod
    def _clipped(self) -> tuple[float, float]: ...

    def _best(self, cost: Callable[[float, float], float]) -> tuple[float, float]:
        """The candidate with the least cost."""
        return min(self.candidates(), key=lambda bounds: cost(*bounds))

    def candidates(self) -> list[tuple[float, float]]:
        """The ranges that are tried: clipped at the same magnitude on both sides of 0, which they all contain."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        largest = max(-low, high)
        return [(max(low, -clip * largest), min(high, clip * largest)) for clip in CLIPS]


class PercentileObserver(HistogramObserver):
    """Clips a fixed fraction of the values, at both ends.

    Args:
        share: fraction of the values to keep, in [0, 1]; half of the rest is clipped at each end.
    """

    def __init__(self, bits: int = 8, symmetric: bool = False, share: float = 0.9999) -> None:
        super().__init__(bits, symmetric)
        self.share = check_fraction("share", share, below_one=False)

    def _clipped(self) -> tuple[float, float]:
        below = self.counts.cumsum(0) / self.counts.sum()
        cut = (1 - self.share) / 2
        first = int((below <= cut).sum())
        last = int((below < 1 - cut - 1e-12).sum())
        half = self.limit / BINS
        low, high = self.centres[first].item() - half, self.centres[min(last, BINS - 1)].item() + half
        return max(low, self.low), min(high, self.high)


class MSEObserver(HistogramObserver):
    """The range with the smallest mean squared error of clipping and rounding together."""

    def _clipped(self) -> tuple[float, float]:
        return self._best(self.error)

    def error(self, low: float, high: float) -> float:
        """Mean squared error of the observed values with the range ``low`` … ``high``."""
        params = choose_params(torch.tensor(low), torch.tensor(high), self.bits, self.symmetric)
        error = fake_quantize(self.centres.float(), params).double() - self.centres
        return float((error.square() * self.counts).sum() / self.counts.sum())


class EntropyObserver(HistogramObserver):
    """The range whose quantized distribution is nearest to the clipped one in relative entropy (KL divergence).

    Zeros do not count: they are exact in any range, and after a ReLU they would dominate the histogram.

    Source: Migacz, 8-bit Inference with TensorRT, 2017.
    """

    def _clipped(self) -> tuple[float, float]:
        return self._best(self.divergence)

    def divergence(self, low: float, high: float) -> float:
        """KL(P ‖ Q) in nats: P is the histogram with clipped values added to its ends, Q the same in 2^bits steps.

        Infinite if the range has fewer bins than steps, because the histogram then does not resolve the rounding.
        """
        middle = BINS // 2
        seen = self.counts.clone()
        seen[middle] = min(seen[middle], seen[middle + 1])
        inside = (self.centres >= low) & (self.centres <= high)
        counts = seen[inside]
        if len(counts) < 2**self.bits or not counts.sum():
            return float("inf")
        reference = counts.clone()
        reference[0] += seen[self.centres < low].sum()
        reference[-1] += seen[self.centres > high].sum()
        levels = torch.arange(len(counts)) * 2**self.bits // len(counts)
        filled = (counts > 0).double()
        share = torch.bincount(levels, counts) / torch.bincount(levels, filled).clamp(min=1)
        quantized = share[levels] * filled
        p, q = reference / reference.sum(), quantized / quantized.sum()
        both = (p > 0) & (q > 0)
        missing = p[(p > 0) & (q == 0)].sum().item()
        return float((p[both] * (p[both] / q[both]).log()).sum()) + missing * MISSING


OBSERVERS: dict[str, type[Observer]] = {
    "min-max": MinMaxObserver,
    "moving average": MovingAverageObserver,
    "percentile": PercentileObserver,
    "mse": MSEObserver,
    "entropy": EntropyObserver,
}


def make_observer(method: str, bits: int = 8, symmetric: bool = False) -> Observer:
    """A new observer by name, one of ``OBSERVERS``."""
    return OBSERVERS[check_choice("method", method, tuple(OBSERVERS))](bits, symmetric)
