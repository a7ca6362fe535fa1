"""Peak FLOP/s and memory bandwidth of this machine (the roofline)."""

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
    """Measured peak and bandwidth in fp32.

    Args:
        peak_gflops: GFLOP/s of a large matrix product (a MAC is two FLOP).
        bandwidth_gbs: GB/s read and written.
        threads: number of threads.

    Source: Williams et al., Roofline, 2009.
    """

    peak_gflops: float
    bandwidth_gbs: float
    threads: int

    @property
    def ridge(self) -> float:
        """FLOP per byte at which both limits are equal; below it, a layer waits for memory."""
        return self.peak_gflops / self.bandwidth_gbs

    def bound(self, intensity: float) -> str:
        """``"memory"`` or ``"compute"``, for an intensity in FLOP per byte."""
        return "memory" if intensity < self.ridge else "compute"

    def attainable_gflops(self, intensity: float) -> float:
        """Most GFLOP/s that a layer of this intensity (FLOP per byte) can reach."""
        return min(self.peak_gflops, intensity * self.bandwidth_gbs)


def roofline(threads: int | None = None, refresh: bool = False) -> Roofline:
    """The roofline of this machine, measured once (in under a second) and then read from the cache folder.

    Args:
        threads: number of threads; by default as many as torch uses now.
        refresh: measure again and keep the better of old and new, since other programs only make it slower.
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
    """Let torch use ``threads`` threads within the ``with`` block."""
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
        matmul = _shortest(lambda: torch.mm(a, b, out=product))
        x, y = torch.rand(STREAM_ELEMENTS), torch.rand(STREAM_ELEMENTS)
        triad = torch.zeros_like(x)
        stream = _shortest(lambda: torch.add(x, y, alpha=3.0, out=triad))
    return Roofline(
        peak_gflops=round(2 * MATMUL_SIZE**3 / matmul / 1e9, 2),
        bandwidth_gbs=round(3 * 4 * STREAM_ELEMENTS / stream / 1e9, 2),
        threads=threads,
    )


def _shortest(run: Callable[[], object]) -> float:
    """Shortest of a few runs in seconds, the one least disturbed by other programs."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _read(file: Path) -> dict[str, dict[str, float]]:
    """Earlier measurements by key; empty where the file is missing or damaged."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return {key: {name: float(value[name]) for name in LIMITS} for key, value in known.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
