import math
import re
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.calculator import (
    HARDWARE,
    TECHNIQUES,
    Figure,
    Outcome,
    estimate,
    judged,
    measured,
    measurements,
    verdicts,
)
from course_lib.calculator.formulas import bitmask_bytes, csr_bytes, low_rank_bytes, quantized_bytes, seconds

MACHINES = st.sampled_from(sorted(HARDWARE))
DTYPES = st.sampled_from(["fp32", "fp16"])
PARAMETERS = st.floats(1e6, 175e9)
BATCHES = st.integers(1, 4096)

# technique, parameters of the page's examples → the page's own words
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


def test_ninety_percent_of_zeros_is_not_ten_times_smaller_nor_faster():
    result = estimate("pruning", 175e9, 0.9)
    assert result.stored == pytest.approx({"dense": 700e9, "bitmask": 91.875e9, "csr": 140e9})
    assert result.honest.ratio.value == pytest.approx(7.619, abs=0.001)
    assert result.honest.speedup.value == 1.0 and result.sparse_speedup.value == pytest.approx(5.0)
    assert result.before.value == pytest.approx(700e9 / 51.2e9 * 1000)


def test_scales_and_zero_points_are_counted():
    assert quantized_bytes(1280, 4) == 640 + 10 * (16 + 4) / 8
    assert quantized_bytes(1, 8) == 1 + 3
    assert estimate("quantization", 175e9, 8).honest.ratio.value == pytest.approx(32 / (8 + 24 / 128))


def test_the_formats_by_hand():
    assert bitmask_bytes(1000, 0.9, 4) == pytest.approx(125 + 400)
    assert csr_bytes(1000, 0.9, 2) == pytest.approx(100 * 6)
    assert low_rank_bytes(64 * 64, 8 / 64, 4) == 2 * 64 * 8 * 4


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


def test_this_machine_is_measured(monkeypatch):
    from types import SimpleNamespace

    from course_lib import profiling

    roof = SimpleNamespace(peak_gflops=100.0, bandwidth_gbs=20.0, threads=2)
    machine = SimpleNamespace(memory_gb=16.0, vnni=True, amx=False)
    monkeypatch.setattr(profiling, "roofline", lambda: roof)
    monkeypatch.setattr(profiling, "machine", lambda: machine)
    result = estimate("quantization", 1e9, 8, "this_machine", batch_size=1024)
    assert result.hardware.peak("fp32") == 0.1 and result.hardware.peak("int8") == 0.4
    assert result.honest.speedup.value == pytest.approx(4.0)
    assert result.hardware.source == "measured by profiling.roofline"


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


def test_seconds_are_those_of_the_slower_limit():
    laptop = HARDWARE["cpu_laptop"]
    assert seconds(51.2e9, 1, laptop, "fp32") == pytest.approx(1)
    assert seconds(1, 0.192e12, laptop, "fp32") == pytest.approx(1)
    assert seconds(1, 0.192e12, laptop, "fp32", efficiency=0.5) == pytest.approx(2)
    assert laptop.peak("fp16") == laptop.peak("fp32")


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


def test_verdicts_of_the_headline():
    kinds = {name: verdict.kind for name, verdict in verdicts(estimate("pruning")).items()}
    assert kinds == {
        "ratio": "does not hold", "memory": "does not hold", "speedup": "does not hold", "quality": "not measured"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "claimed", "kind"),
    [(10.2, 10, "holds"), (9.5, 10, "holds"), (9.4, 10, "does not hold"), (0.7, 0.7, "holds"), (0, 1, "does not hold")],
)
def test_a_figure_is_judged_by_what_was_claimed(found, claimed, kind):
    assert judged(found, claimed) == kind


def test_a_claim_that_needs_another_baseline_holds_under_conditions():
    said = verdicts(estimate("quantization", 7e9, 8, "h100", "fp16"))
    assert said["ratio"].kind == "under conditions" and "fp32" in said["ratio"].reason
    assert verdicts(estimate("quantization", 7e9, 8))["ratio"].kind == "holds"


def test_what_was_measured_outweighs_what_was_estimated():
    result = estimate("pruning", 11e6, 0.9)

    def figure(value: float, text: str) -> Figure:
        return Figure(value, "", text, "measured")

    one, name = figure(1.0, "1x: no faster"), figure(0.0, "ResNet18")
    seen = Outcome(name, name, figure(7.6, "7.6x smaller"), figure(0.99, "99 %"), one, figure(6e6, "6 MB"), name)
    assert verdicts(result, seen)["quality"].kind == "holds"
    assert (
        str(verdicts(result, seen)["speedup"])
        == "does not hold: 1x: no faster, measured; zeros still cost a multiplication"
    )


def test_hardware_names_its_source():
    for preset in HARDWARE.values():
        assert preset.source and preset.peaks["fp32"] > 0 and preset.bandwidth > 0 and preset.memory > 0


def test_a_figure_of_unknown_source_is_refused():
    with pytest.raises(ValueError, match="source must be one of 'page claim', 'estimate', 'measured'"):
        Figure(1.0, "x", "1x", "rumour")


RESULTS = {
    "fine_tuned": {"rows": [{"sparsity": 0.9, "retained": 0.995, "stored_bytes_fp32": 5_900_000}]},
    "compare": {
        "rows": [
            {"name": "baseline", "sparsity": 0.0, "stored_bytes": 44_700_000, "parameters": 11_181_642, "speedup": 1.0},
            {"name": "90 %", "sparsity": 0.899, "stored_bytes": 5_900_000, "parameters": 11_181_642, "speedup": 1.02},
        ]
    },
}


@pytest.fixture
def shipped_results(monkeypatch):
    monkeypatch.setattr(measurements, "results", lambda technique: RESULTS if technique == "pruning" else {})


def test_shipped_measurements_stand_beside_the_claims(shipped_results):
    seen = measured("pruning", 0.9)
    assert [str(getattr(seen, name)) for name in ("size", "ratio", "quality", "speedup", "memory")] == [
        "1.12M params", "7.58x smaller", "99.5 %", "1.02x faster", "87 % (5.90 MB)",
    ]  # fmt: skip
    assert {getattr(seen, field.name).source for field in fields(seen)} == {"measured"}
    said = verdicts(estimate("pruning", strength=0.9), seen)
    assert (
        str(said["speedup"]) == "does not hold: 1.02x faster, measured; zeros still cost a multiplication"
        and said["quality"].kind == "holds"
    )


def test_nothing_is_called_measured_where_nobody_measured(shipped_results):
    assert measured("pruning", 0.85) is None
    assert measured("quantization", 8) is None
