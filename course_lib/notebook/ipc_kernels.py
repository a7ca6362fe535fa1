"""Kernels are reached over files of their own, where the system knows such sockets; as a plugin of pytest for nbval.

A kernel with network ports gets numbers that were free a moment ago; of two kernels that start at the same moment both
can be given the same one, and the slower one dies.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


@contextmanager
def settings() -> Iterator[dict[str, str]]:
    """Traits of a ``KernelManager`` for one kernel; its sockets are removed at the end. Empty without such sockets."""
    if os.name != "posix":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as folder:
        yield {"transport": "ipc", "ip": str(Path(folder) / "k")}


def pytest_configure(config: pytest.Config) -> None:
    """Let nbval make its kernels so; it runs one at a time, and the next one may use the same place."""
    import nbval.kernel
    from jupyter_client.manager import KernelManager

    stack = ExitStack()
    config.add_cleanup(stack.close)
    nbval.kernel.KernelManager = partial(KernelManager, **stack.enter_context(settings()))
