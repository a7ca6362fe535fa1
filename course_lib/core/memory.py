"""Resident memory of a process: its peak, and the return of freed memory to the operating system.

glibc keeps freed memory for later requests. After training or evaluation these are all activations, several hundred
megabytes, which would stay resident as long as the notebook is open.
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
    """Return freed memory to the operating system if the C library can; returns whether it can.

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

    Linux and Windows record the peak of every process, macOS only that of this one: for another process it is the
    current resident memory. Linux does not use ``ru_maxrss``, which survives ``exec`` and may be that of the parent.
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
    """Reset the peak of this process to its current resident memory, on Linux; elsewhere it does nothing."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
