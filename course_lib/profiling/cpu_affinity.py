"""CPU affinity: each thread of a session runs on its own physical core.

Without it, the operating system sometimes puts two threads on one core, and the whole run takes four times as long.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")


def separate_cores(threads: int) -> list[int]:
    """Logical processors on ``threads`` different physical cores, the fastest first.

    Empty for a single thread, where there are fewer free cores than threads, and on other systems than Linux.
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
    """Pin the calling thread to the first of ``cores`` within the ``with`` block; without cores nothing changes."""
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

    The first core is left out: it belongs to the calling thread, which is not in the pool.
    """
    return ";".join(str(core + 1) for core in cores[1:])


def _read(processor: int, name: str, default: str) -> str:
    try:
        return (TOPOLOGY / f"cpu{processor}" / name).read_text(encoding="ascii").strip()
    except OSError:
        return default
