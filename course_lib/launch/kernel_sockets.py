"""A pytest plugin for nbval: its kernels are reached over files of their own.

A kernel with network ports gets numbers that were free a moment ago; two workers that start kernels at the same
moment can be given the same one, and the slower kernel dies.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager


def pytest_configure(config: pytest.Config) -> None:
    """Give every kernel of this process a folder for its sockets, where the system knows such sockets."""
    if os.name != "posix":
        return
    folder = tempfile.TemporaryDirectory(prefix="kernels-")
    config.add_cleanup(folder.cleanup)
    numbers = itertools.count()

    def manager(**settings: Any) -> KernelManager:
        place = Path(folder.name) / str(next(numbers))
        place.mkdir()
        return KernelManager(transport="ipc", ip=str(place / "k"), **settings)

    nbval.kernel.KernelManager = manager
