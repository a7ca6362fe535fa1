"""Estimates against arithmetic by hand, and properties that hold for every technique and machine."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.calculator import HARDWARE, TECHNIQUES, estimate

MACHINES = st.sampled_from(sorted(HARDWARE))
DTYPES = st.sampled_from(["fp32", "fp16"])
PARAMETERS = st.floats(1e6, 175e9)
BATCHES = st.integers(1, 4096)


def test_ninety_percent_of_zeros_is_not_ten_times_smaller_nor_faster():
    result = estimate("pruning", 175e9, 0.9)
    assert result.stored == pytest.approx({"dense": 700e9, "bitmask": 91.875e9, "csr": 140e9})
    assert result.honest.ratio.value == pytest.approx(7.619, abs=0.001)
    assert result.honest.speedup.value == 1.0 and result.sparse_speedup.value == pytest.approx(5.0)
    assert result.before.value == pytest.approx(700e9 / 51.2e9 * 1000)


def test_a_batch_turns_waiting_for_memory_into_arithmetic():
    assert estimate("pruning", batch_size=1).bound == "memory"
    assert estimate("pruning", batch_size=64).bound == "compute"
    assert estimate("quantization", hardware="h100", baseline_dtype="fp16", batch_size=1).bound == "memory"
    assert estimate("quantization", hardware="h100", baseline_dtype="fp16", batch_size=4096).bound == "compute"


def test_four_bits_save_time_only_where_memory_is_what_one_waits_for():
    alone = estimate("quantization", 7e9, 4, "rtx_4090", "fp16", 1).honest.speedup.value
    crowd = estimate("quantization", 7e9, 4, "rtx_4090", "fp16", 4096).honest.speedup.value
    assert alone > 3.5 and crowd == 1.0


def test_half_the_rank_is_where_low_rank_breaks_even():
    assert estimate("low_rank", strength=0.5).honest.ratio.value == 1.0
    worse = estimate("low_rank", strength=0.75).honest
    assert str(worse.ratio) == "1.5x larger" and str(worse.speedup) == "1.5x slower"
    assert str(worse.memory).startswith("50 % more (")


def test_what_does_not_fit_is_said():
    assert not estimate("pruning", 175e9, 0.9).fits
    assert estimate("pruning", 25e6, 0.9).fits
    hundred = estimate("pruning", 175e9, 0.9, "h100", "fp16")
    assert hundred.fits and not hundred.fits_before


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 0.99), st.floats(0, 0.99), PARAMETERS, DTYPES, MACHINES)
def test_more_zeros_never_cost_more_bytes_or_time(one, other, parameters, dtype, machine):
    few, many = (estimate("pruning", parameters, s, machine, dtype) for s in sorted((one, other)))
    assert many.honest.memory.value <= few.honest.memory.value
    assert many.sparse_speedup.value >= few.sparse_speedup.value
    assert many.honest.speedup.value == few.honest.speedup.value == 1.0
    assert many.claim.memory.value <= few.claim.memory.value


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 16), st.integers(1, 16), PARAMETERS, DTYPES)
def test_more_bits_never_cost_fewer_bytes(one, other, parameters, dtype):
    few, many = (estimate("quantization", parameters, bits, baseline_dtype=dtype) for bits in sorted((one, other)))
    assert few.honest.memory.value <= many.honest.memory.value


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["distillation", "low_rank"]), st.floats(0.001, 1), st.floats(0.001, 1), MACHINES, BATCHES)
def test_a_larger_share_is_never_smaller_or_faster(technique, one, other, machine, batch):
    small, large = (estimate(technique, 1e9, f, machine, batch_size=batch) for f in sorted((one, other)))
    assert small.honest.memory.value <= large.honest.memory.value
    assert small.honest.speedup.value >= large.honest.speedup.value * (1 - 1e-12)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(TECHNIQUES)), PARAMETERS, MACHINES, DTYPES, BATCHES)
def test_the_honest_estimate_never_beats_the_bits_that_are_left(technique, parameters, machine, dtype, batch):
    result = estimate(technique, parameters, None, machine, dtype, batch)
    baseline = parameters * result.baseline_bytes
    assert 0 < result.honest.memory.value <= baseline
    assert result.honest.ratio.value == pytest.approx(baseline / result.honest.memory.value)
    assert result.before.value >= result.after.value > 0
    assert result.claim.ratio.value >= 0.999 * result.honest.ratio.value


@settings(deadline=None, max_examples=50)
@given(PARAMETERS, MACHINES, DTYPES, st.integers(1, 4095))
def test_a_larger_batch_never_takes_less_time_but_less_per_example(parameters, machine, dtype, batch):
    one, more = (estimate("pruning", parameters, 0.9, machine, dtype, b) for b in (batch, batch + 1))
    assert more.before.value >= one.before.value
    assert more.before.value / (batch + 1) <= one.before.value / batch * (1 + 1e-12)


IMPOSSIBLE = [
    ({"technique": "magic"}, "technique must be one of 'pruning'"),
    ({"strength": 1.0}, "strength (sparsity) must lie in [0, 1), got 1.0"),
    ({"strength": -0.1}, "strength (sparsity) must lie in [0, 1), got -0.1"),
    ({"strength": math.nan}, "strength (sparsity) must lie in [0, 1), got nan"),
    ({"technique": "quantization", "strength": 0}, "strength (bits) must be a whole number from 1 to 16, got 0"),
    ({"technique": "quantization", "strength": 4.5}, "strength (bits) must be a whole number from 1 to 16, got 4.5"),
    ({"technique": "quantization", "strength": math.nan}, "strength (bits) must be a whole number"),
    ({"technique": "distillation", "strength": 0}, "strength (student size) must be greater than 0, got 0"),
    ({"technique": "low_rank", "strength": 1.5}, "strength (rank) must lie in [0, 1], got 1.5"),
    ({"parameters": 0}, "parameters must be a finite number of at least 1, got 0"),
    ({"parameters": math.inf}, "parameters must be a finite number of at least 1, got inf"),
    ({"batch_size": 0}, "batch_size must be a finite number of at least 1, got 0"),
    ({"hardware": "abacus"}, "hardware must be one of 'cpu_laptop'"),
    ({"baseline_dtype": "int8"}, "baseline_dtype must be one of 'fp32', 'fp16'; got 'int8'"),
]


@pytest.mark.parametrize(("change", "message"), IMPOSSIBLE)
def test_impossible_input_is_refused_with_what_is_allowed(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        estimate(**{"technique": "pruning", **change})
