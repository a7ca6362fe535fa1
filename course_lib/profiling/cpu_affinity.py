"""Each thread of a session on a core of its own: left alone, the scheduler now and then puts two of them on one core,
and the same model then takes four times as long for a whole run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")


def separate_cores(threads: int) -> list[int]:
    """Logical processors on ``threads`` different physical cores, the fastest first.

    Empty where there is nothing to place: a single thread, fewer free cores than threads, or no way to ask (the
    operating system is not Linux).
    """
    if threads < 2 or not hasattr(os, "sched_getaffinity"):
        return []
    firsts: dict[str, int] = {}
    for processor in sorted(os.sched_getaffinity(0)):
        firsts.setdefault(_read(processor, "topology/thread_siblings_list", str(processor)), processor)
    ranked = sorted(firsts.values(), key=lambda processor: -int(_read(processor, "cpufreq/cpuinfo_max_freq", "0")))
    return ranked[:threads] if len(ranked) >= threads else []


@contextlib.contextmanager
def on_core(cores: list[int]) -> Iterator[None]:
    """Keep the calling thread on the first of ``cores``; it may go anywhere again afterwards. No cores, no change."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def worker_affinities(cores: list[int]) -> str:
    """ONNX Runtime's ``session.intra_op_thread_affinities``: one processor, counted from 1, per thread of the pool.

    The calling thread is not of the pool, so the first core is left to it.
    """
    return ";".join(str(core + 1) for core in cores[1:])


def _read(processor: int, name: str, otherwise: str) -> str:
    try:
        return (TOPOLOGY / f"cpu{processor}" / name).read_text(encoding="ascii").strip()
    except OSError:
        return otherwise
