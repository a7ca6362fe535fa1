"""The fork server: each job is a new child of it, is limited in time, and ends with its grader."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from course_lib.grading import building, fork_server

pytestmark = pytest.mark.skipif(not fork_server.available(), reason="this system has no fork server")
OPTIONS = ["-q", "-p", "no:cacheprovider", "-c", "pytest.ini", "test_it.py"]


@pytest.fixture
def prepare(tmp_path):
    def write(body, name="one"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_it.py").write_text(f"def test_it():\n    {body}\n")
        return folder

    return write


def environment(folder, **more):
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(building.ROOT), **more}


def status(folder, seconds=120.0, **more):
    with fork_server.start(OPTIONS, folder, environment(folder, **more)) as comparison:
        return comparison.wait(seconds)


def test_a_comparison_has_folder_environment_and_status_of_its_own(prepare):
    folder = prepare("import os; assert os.environ == {**os.environ, 'MINE': 'x'} and os.path.isfile('test_it.py')")
    assert status(folder, MINE="x") == 0
    assert status(prepare("assert False", "two"), MINE="x") == 1
    assert "MINE" not in os.environ


def test_nothing_is_kept_from_one_comparison_to_the_next(prepare):
    assert status(prepare("import json; json.MARK = 1")) == 0
    assert status(prepare("import json; assert not hasattr(json, 'MARK')", "two")) == 0


def test_one_that_takes_too_long_is_killed_and_the_next_one_works(prepare):
    slow = prepare("import time; time.sleep(600)")
    with fork_server.start(OPTIONS, slow, environment(slow)) as comparison:
        with pytest.raises(subprocess.TimeoutExpired):
            comparison.wait(1.0)
        pid = comparison.pid
    assert not psutil.pid_exists(pid)
    assert status(prepare("pass", "two")) == 0


def test_a_comparison_that_is_killed_or_crashes_has_a_negative_status(prepare):
    assert status(prepare("import os; os.kill(os.getpid(), 11)")) == -11


def test_a_server_that_died_is_started_again(prepare):
    assert status(prepare("pass")) == 0
    fork_server._servers.compare.process.kill()
    fork_server._servers.compare.process.wait()
    assert status(prepare("pass", "two")) == 0


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_ends_with_the_grader_that_started_it(prepare):
    folder = prepare("import time; time.sleep(600)")
    code = f"""
import pathlib, subprocess
from course_lib.grading import fork_server
with fork_server.start({OPTIONS!r}, pathlib.Path({str(folder)!r}), {environment(folder)!r}) as comparison:
    print(comparison.pid, fork_server._servers.compare.process.pid, flush=True)
    comparison.wait(600)
"""
    grader = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(building.ROOT)},
    )  # fmt: skip
    pids = [int(word) for word in grader.stdout.readline().split()]
    assert len(pids) == 2 and all(map(is_running, pids))
    grader.kill()
    grader.wait()
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_where_it_cannot_be_done_a_fresh_python_does_the_same(prepare, monkeypatch):
    monkeypatch.setattr(fork_server, "available", lambda: False)
    assert status(prepare("pass")) == 0
