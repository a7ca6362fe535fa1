"""Control groups exist during a run, in the version that the machine has, and are removed afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.grading import cgroups

needs_groups = pytest.mark.skipif(cgroups.version() == "none", reason="this process may not make control groups")


@needs_groups
def test_a_group_limits_what_joins_it_and_disappears_with_it():
    with cgroups.group(256 * 1024 * 1024, 8) as folders:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        process = subprocess.Popen(command, preexec_fn=cgroups.joiner(folders))
        members = [Path(folder, "cgroup.procs").read_text().split() for folder in folders]
        assert members and all(str(process.pid) in one for one in members)
    assert process.wait(10) == -9 and not any(os.path.exists(folder) for folder in folders)


@needs_groups
def test_too_much_memory_ends_the_process_inside():
    with cgroups.group(64 * 1024 * 1024, 8) as folders:
        command = [sys.executable, "-c", "pile = [bytes(1_000_000) * 2 for _ in range(1000)]"]
        assert subprocess.run(command, preexec_fn=cgroups.joiner(folders), capture_output=True).returncode == -9


@needs_groups
def test_groups_of_a_grader_that_was_killed_are_removed(monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: ended.pid)
        left = cgroups._create(64 * 1024 * 1024, 8)
    with cgroups.group(64 * 1024 * 1024, 8) as folders:
        assert not any(folder.exists() for folder in left)
        assert all(os.path.exists(folder) for folder in folders)


def test_without_control_groups_there_is_nothing_to_join(monkeypatch):
    monkeypatch.setattr(cgroups, "version", lambda: "none")
    with cgroups.group(1, 1) as folders:
        assert folders == [] and cgroups.joiner(folders) is None
