"""Kernels on sockets that are files, and the pytest plugin for nbval."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nbval.kernel

from course_lib.notebook import ipc_kernels


def test_two_kernels_get_different_sockets_which_are_removed_at_the_end():
    with ipc_kernels.connection_settings() as one, ipc_kernels.connection_settings() as other:
        assert one["transport"] == other["transport"] == "ipc" and one["ip"] != other["ip"]
        folder = Path(one["ip"]).parent
        assert folder.is_dir()
    assert not folder.exists()


def test_a_system_without_such_sockets_keeps_its_ports(monkeypatch):
    monkeypatch.setattr(ipc_kernels.os, "name", "nt")
    with ipc_kernels.connection_settings() as settings:
        assert settings == {}


def test_the_plugin_changes_the_kernels_of_nbval(monkeypatch):
    cleanups = []
    monkeypatch.setattr(nbval.kernel, "KernelManager", None)
    ipc_kernels.pytest_configure(SimpleNamespace(add_cleanup=cleanups.append))
    assert nbval.kernel.KernelManager().transport == "ipc"
    cleanups[0]()
