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
def test_the_processor_time_of_all_its_processes_is_counted_and_limited():
    spin = "import os, time\nos.fork(); os.fork()\nbegin = time.monotonic()\nwhile time.monotonic() < begin + 1: pass"
    with cgroups.group(256 * 1024 * 1024, 16) as folders:
        assert cgroups.processor_seconds(folders) == 0
        subprocess.run([sys.executable, "-c", spin], preexec_fn=cgroups.joiner(folders), check=True)
        used = cgroups.processor_seconds(folders)
        assert used is not None and used > 0.1
        limits = [path.read_text() for folder in folders for path in Path(folder).glob("cpu.*")
                  if path.name in ("cpu.max", "cpu.cfs_quota_us")]  # fmt: skip
    assert all(limit.split()[0] == str(cgroups.PROCESSORS * cgroups.PERIOD) for limit in limits)


@needs_groups
def test_members_are_moved_by_what_they_write_themselves():
    with cgroups.group(256 * 1024 * 1024, 16) as folders:
        files = cgroups.members(folders)
        if (pid := os.fork()) == 0:
            try:
                for file in files:
                    os.write(file.fileno(), b"0")
                os._exit(0 if "course-" in Path("/proc/self/cgroup").read_text() else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for file in files:
            file.close()


def test_version_2_is_set_up_in_one_folder_and_version_1_in_one_for_each_controller(monkeypatch, tmp_path):
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "version", lambda: "v2")
    assert cgroups._settings("x", 5, 7) == {
        tmp_path / "x": {"memory.max": 5, "memory.swap.max": 0, "pids.max": 7, "cpu.max": "100000 100000"}
    }
    monkeypatch.setattr(cgroups, "version", lambda: "v1")
    (tmp_path / "cpu,cpuacct").mkdir()
    for name in ("memory", "pids"):
        (tmp_path / name).mkdir()
    for name in ("cpu", "cpuacct"):
        (tmp_path / name).symlink_to("cpu,cpuacct")
    for name in ("memory", "pids", "cpu"):
        (tmp_path / name / "cgroup.procs").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in cgroups._settings("x", 5, 7)] == [
        "memory/x", "pids/x", "cpu,cpuacct/x",
    ]  # fmt: skip


def test_processor_seconds_are_read_in_both_versions(tmp_path):
    assert cgroups.processor_seconds([str(tmp_path)]) is None
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert cgroups.processor_seconds([str(tmp_path)]) == 2.5
    (tmp_path / "cpuacct.usage").write_text("1500000000\n")
    assert cgroups.processor_seconds([str(tmp_path)]) == 1.5


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
