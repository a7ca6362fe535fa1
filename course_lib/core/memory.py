"""Resident memory of a process: its peak, and freed memory given back to the operating system.

glibc keeps freed memory for the next request. After a training or an evaluation that is the space of all activations:
several hundred megabytes, which stay resident as long as the notebook is open.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

import psutil


def return_freed() -> bool:
    """Give freed memory back where the C library has a way to do so; says whether there was one.

    Source: glibc, malloc_trim(3).
    """
    trim = _malloc_trim()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _malloc_trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def peak_bytes(pid: int | None = None) -> int:
    """Highest resident memory so far of process ``pid``, this one by default; 0 if there is no such process.

    Linux and Windows keep the peak of every process, macOS of this one only: there, another process gives its present
    resident memory. ``ru_maxrss`` is not used on Linux: it survives ``exec``, so it may be the size of the parent.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="utf-8")
            return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    if sys.platform == "darwin" and pid is None:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return getattr(memory, "peak_wset", memory.rss)


def reset_peak() -> None:
    """Set the peak of this process back to its present resident memory, on Linux; elsewhere it stays."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
