"""Wall-clock time of runners, measured in turns, so that a slow moment of the machine affects all of them."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from course_lib.core.validation import check_positive
from course_lib.profiling.runtimes import Runner

BURST = 3


@dataclass(frozen=True)
class Latency:
    """Median and 95th percentile of ``runs`` runs, in milliseconds."""

    p50_ms: float
    p95_ms: float
    runs: int

    def __str__(self) -> str:
        return f"{self.p50_ms:.3g} ms (p95 {self.p95_ms:.3g} ms, {self.runs} runs)"


def interleave(
    runners: Mapping[str, Runner], *, runs: int = 30, warmup: int = 5, seconds: float = 30.0
) -> dict[str, Latency]:
    """Time every runner ``runs`` times, in turns.

    In each turn a runner is called once untimed, to bring its weights back into the caches, and then a few times timed.
    The order is reversed after each round, and the garbage collector is off.

    Args:
        runners: name → runner.
        warmup: calls of each runner before the first turn.
        seconds: no round begins later than this; on a busy machine there are then fewer than ``runs`` runs.
    """
    check_positive("runs", runs)
    samples: dict[str, list[float]] = {name: [] for name in runners}
    order = list(runners)
    deadline = time.perf_counter() + seconds
    with _without_collector():
        for runner in runners.values():
            _warm_up(runner, warmup, deadline)
        while order and (taken := len(samples[order[0]])) < runs and not (taken and time.perf_counter() > deadline):
            for name in order:
                samples[name] += _turn(runners[name], min(BURST, runs - taken))
            order.reverse()
    return {name: _latency(times) for name, times in samples.items()}


def _warm_up(runner: Runner, calls: int, deadline: float) -> None:
    with runner.ready():
        for call in range(calls):
            if call and time.perf_counter() > deadline:
                return
            runner.run()


def _turn(runner: Runner, calls: int) -> list[float]:
    times = []
    with runner.ready():
        runner.run()
        for _ in range(calls):
            start = time.perf_counter()
            runner.run()
            times.append(time.perf_counter() - start)
    return times


def _latency(times: list[float]) -> Latency:
    """The 95th percentile is the smallest run that at least 95 % of the runs do not exceed."""
    ordered = sorted(times)
    p95 = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    return Latency(statistics.median(ordered) * 1000, p95 * 1000, len(ordered))


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
