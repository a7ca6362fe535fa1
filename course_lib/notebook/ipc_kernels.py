"""Kernels on IPC sockets (files) in place of TCP ports; also a pytest plugin that makes nbval use them.

A TCP port is chosen before the kernel binds it, so two kernels that start at the same time can get the same port, and
one of them dies.
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
def connection_settings() -> Iterator[dict[str, str]]:
    """``KernelManager`` traits for one kernel, whose sockets are removed at the end; empty without IPC support."""
    if os.name != "posix":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as folder:
        yield {"transport": "ipc", "ip": str(Path(folder) / "k")}


def pytest_configure(config: pytest.Config) -> None:
    """Make nbval start its kernels this way; they run one after another, so all can use the same path."""
    import nbval.kernel
    from jupyter_client.manager import KernelManager

    stack = ExitStack()
    config.add_cleanup(stack.close)
    nbval.kernel.KernelManager = partial(KernelManager, **stack.enter_context(connection_settings()))
