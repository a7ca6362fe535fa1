"""How fast this machine can compute, and how fast it can read: the two roofs under which every layer lives."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from course_lib import assets
from course_lib.core.atomic_write import write_atomically
from course_lib.core.validation import check_positive
from course_lib.profiling.hardware import machine

MATMUL_SIZE = 1536
STREAM_ELEMENTS = 16 * 2**20  # three arrays of 64 MiB: far more than a last-level cache share
ROUNDS = 6
LIMITS = ("peak_gflops", "bandwidth_gbs")


@dataclass(frozen=True)
class Roofline:
    """Two measured limits in fp32.

    Args:
        peak_gflops: floating-point operations per second of a large matrix product, in 10⁹ (a MAC is two).
        bandwidth_gbs: bytes per second that are read or written, in 10⁹.
        threads: with how many threads.

    Source: Williams et al., Roofline, 2009.
    """

    peak_gflops: float
    bandwidth_gbs: float
    threads: int

    @property
    def ridge(self) -> float:
        """FLOP per byte at which both limits are equal; below it, memory is what a layer waits for."""
        return self.peak_gflops / self.bandwidth_gbs

    def bound(self, intensity: float) -> str:
        """``"memory"`` or ``"compute"``, for an intensity in FLOP per byte."""
        return "memory" if intensity < self.ridge else "compute"

    def attainable_gflops(self, intensity: float) -> float:
        """Most GFLOP/s that a layer of this intensity (FLOP per byte) can reach."""
        return min(self.peak_gflops, intensity * self.bandwidth_gbs)


def roofline(threads: int | None = None, refresh: bool = False) -> Roofline:
    """The limits of this machine: measured once (under a second), then read from the cache folder.

    Args:
        threads: as many as torch uses now, by default.
        refresh: measure again. The better of old and new is kept: a limit is what the machine can do undisturbed.
    """
    threads = int(check_positive("threads", torch.get_num_threads() if threads is None else threads))
    file = assets.cache_folder() / "roofline.json"
    key = f"{machine().cpu} | {threads} threads | torch {torch.__version__}"
    known = _read(file)
    if key in known and not refresh:
        return Roofline(**known[key], threads=threads)
    measured, before = _measure(threads), known.get(key, {})
    limits = {name: max(getattr(measured, name), before.get(name, 0.0)) for name in LIMITS}
    write_atomically(file, json.dumps({**known, key: limits}, indent=2) + "\n")
    return Roofline(**limits, threads=threads)


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use ``threads`` threads, and put the old number back."""
    before = torch.get_num_threads()
    if before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measure(threads: int) -> Roofline:
    with torch_threads(threads), torch.inference_mode():
        a, b = torch.rand(MATMUL_SIZE, MATMUL_SIZE), torch.rand(MATMUL_SIZE, MATMUL_SIZE)
        product = torch.empty_like(a)
        matmul = _best(lambda: torch.mm(a, b, out=product))
        x, y = torch.rand(STREAM_ELEMENTS), torch.rand(STREAM_ELEMENTS)
        triad = torch.zeros_like(x)
        stream = _best(lambda: torch.add(x, y, alpha=3.0, out=triad))
    return Roofline(
        peak_gflops=round(2 * MATMUL_SIZE**3 / matmul / 1e9, 2),
        bandwidth_gbs=round(3 * 4 * STREAM_ELEMENTS / stream / 1e9, 2),
        threads=threads,
    )


def _best(work: Callable[[], object]) -> float:
    """Shortest of a few runs in seconds: a limit is what the machine can do undisturbed."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _read(file: Path) -> dict[str, dict[str, float]]:
    """What was measured before; anything that is not readable is measured again."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return {
            key: {name: float(value[name]) for name in ("peak_gflops", "bandwidth_gbs")} for key, value in known.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
