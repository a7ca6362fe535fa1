"""Memory that was freed, given back to the system.

glibc keeps what a program frees, for the next request. After a training or an evaluation that is the space of all
activations, several hundred megabytes, which then count as resident for as long as the notebook is open.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


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
