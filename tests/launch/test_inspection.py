"""The checks before the start: port, disk and kernel."""

from __future__ import annotations

import shutil
import socket
import sys

import pytest

from course_lib.launch import inspection
from course_lib.launch.environment import Environment
from course_lib.launch.errors import LaunchError


def test_without_a_wanted_port_the_next_free_one_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert inspection.choose_port(None, port) > port
    with pytest.raises(LaunchError, match=r"--port must lie in 1 \.\.\. 65535, got 70000"):
        inspection.choose_port(70000, 8888)


def test_a_full_disk_is_noticed_before_the_download(project, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**10, 10**10, 10**9))
    with pytest.raises(LaunchError, match=r"has 1\.0 GB free and 7\.0 GB are needed; .*CPU-only"):
        inspection.check_disk(Environment(project))


@pytest.mark.parametrize("installed", ["2.14.1", "2.14.1+cpu"])
def test_an_environment_with_the_locked_torch_needs_little_more(ready, monkeypatch, installed):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**10, 10**10, 10**9))
    (Environment(ready).site_packages / f"torch-{installed}.dist-info").mkdir()
    inspection.check_disk(Environment(ready))
    (ready / "requirements.lock").write_text("torch==2.14\n")
    with pytest.raises(LaunchError, match="not enough disk"):
        inspection.check_disk(Environment(ready))


def test_a_ready_environment_that_lost_its_packages_says_so(ready):
    for path in Environment(ready).folder.rglob("course.pth"):
        path.unlink()
    with pytest.raises(LaunchError, match=r"\.venv is damaged \(.*jupyter_client.*; delete the folder"):
        inspection.check_kernel(Environment(ready))
