"""Runners take turns, and only timed runs count."""

import gc
import time

import pytest

from course_lib import profiling
from course_lib.profiling import runtimes, timing


def test_runners_take_turns_and_only_the_clocked_runs_count():
    calls = []

    def runner(name, seconds):
        def run():
            calls.append((name, gc.isenabled()))
            time.sleep(seconds)

        return runtimes.Runner(name, run, threads=1)

    result = profiling.interleave({"fast": runner("fast", 0), "slow": runner("slow", 0.002)}, runs=4, warmup=1)
    assert gc.isenabled()
    assert not any(enabled for _, enabled in calls)
    names = [name for name, _ in calls]
    assert names == ["fast", "slow"] + ["fast"] * 4 + ["slow"] * 4 + ["slow"] * 2 + ["fast"] * 2
    assert [latency.runs for latency in result.values()] == [4, 4]
    assert result["slow"].p50_ms >= 2 > result["fast"].p50_ms
    with pytest.raises(ValueError, match="runs must be greater than 0"):
        profiling.interleave({}, runs=0)


def test_a_busy_machine_gives_fewer_runs_instead_of_an_endless_wait():
    calls = []
    runner = runtimes.Runner("slow", lambda: calls.append(time.sleep(0.005)), threads=1)
    result = profiling.interleave({"a": runner, "b": runner}, runs=300, seconds=0.0)
    assert [latency.runs for latency in result.values()] == [timing.BURST] * 2
    assert len(calls) == 2 * (1 + 1 + timing.BURST)


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (20, 19), (30, 29), (100, 95)])
def test_latency_reports_median_and_95th_percentile_in_milliseconds(count, p95):
    latency = timing._latency([rank / 1000 for rank in range(count, 0, -1)])
    assert latency.p50_ms == pytest.approx((count + 1) / 2)
    assert latency.p95_ms == pytest.approx(p95)
