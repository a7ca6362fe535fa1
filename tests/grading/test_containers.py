"""The container level with a simulated engine: its command lines, and a kernel that is graded behind it.

The simulated engine logs its command lines and executes ``run`` with bubblewrap, with the same mounts and, like real
engines, without passing file descriptors.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from course_lib.grading import building, containers, grade, probes, sandbox
from course_lib.grading.assignment import Assignment
from course_lib.grading.sandbox_view import Limits

ENGINE = """
    #!{python} -IS
    import json, os, sys
    arguments = sys.argv[1:]
    with open({log!r}, "a") as log:
        log.write(json.dumps(arguments) + "\\n")
    if arguments[0] != "run":
        sys.exit({other})
    made, place = ["{bwrap}", "--unshare-pid", "--unshare-net", "--die-with-parent", "--clearenv"], 1
    made += ["--proc", "/proc", "--dev", "/dev"]
    while arguments[place] != "course-sandbox:empty":
        option, value = arguments[place], arguments[place + 1]
        if option in ("--rm", "--read-only"):
            place += 1
            continue
        if option == "--volume":
            outside, inside, mode = value.split(":")
            assert mode == "ro", value
            made += ["--ro-bind", outside, inside]
        elif option == "--tmpfs":
            made += ["--perms", "1777", "--tmpfs", value.split(":")[0]]
        elif option == "--env":
            made += ["--setenv", *value.split("=", 1)]
        place += 2
    os.execv(made[0], [*made, "--chdir", "/tmp", "--", *arguments[place + 1:]])
"""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Puts a simulated podman on the path; returns its command lines so far."""
    sandbox.require("bwrap")
    log = tmp_path / "log"

    def install(other=0):
        import shutil

        program = tmp_path / "bin" / "podman"
        program.parent.mkdir(exist_ok=True)
        text = ENGINE.format(python=sys.executable, log=str(log), bwrap=shutil.which("bwrap"), other=other)
        program.write_text(textwrap.dedent(text).strip())
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []

    containers.problem.cache_clear()
    yield install
    containers.problem.cache_clear()


def test_without_an_engine_the_level_is_not_available(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    containers.problem.cache_clear()
    with pytest.raises(sandbox.SandboxError, match="neither podman nor docker is installed"):
        sandbox.require("container")
    containers.problem.cache_clear()


def test_an_engine_that_does_not_answer_is_not_available(engine):
    engine(other=3)
    with pytest.raises(sandbox.SandboxError, match=r"podman is installed but does not answer \(exit status 3\)"):
        sandbox.require("container")


def test_a_working_engine_is_tried_with_a_container(engine):
    calls = engine()
    assert sandbox.require("container") == "container"
    assert [call[0] for call in calls()] == ["image", "run"]


def options(command):
    """Option → all its values, up to the image."""
    found, place = {}, command.index("run") + 1
    while command[place] != containers.IMAGE:
        alone = command[place] in ("--rm", "--read-only")
        found.setdefault(command[place], []).append("" if alone else command[place + 1])
        place += 1 if alone else 2
    return found, command[place + 1 :]


def test_the_command_line_takes_everything_away(engine):
    engine()
    limits = Limits(memory_mb=700, processes=9, scratch_mb=5, notebook_seconds=30)
    given, inside = options(containers.command(["python"], {"a.py": Path("/x/a.py")}, limits, "one"))
    expected = {
        "--network": ["none"], "--read-only": [""], "--cap-drop": ["all"], "--user": ["65534:65534"], "--name": ["one"],
        "--memory": ["700m"], "--memory-swap": ["700m"], "--pids-limit": ["9"], "--ipc": ["private"],
    }  # fmt: skip
    assert {name: given[name] for name in expected} == expected
    assert "no-new-privileges" in given["--security-opt"]
    assert all(volume.endswith(":ro") for volume in given["--volume"])
    assert "/x/a.py:/course/a.py:ro" in given["--volume"]
    assert any(mount.startswith("/tmp:") and "size=5242880" in mount for mount in given["--tmpfs"])
    assert inside == ["/usr/bin/timeout", "--signal=KILL", "300", "python"]
    assert "-v" not in given and "--privileged" not in given and "--publish" not in given


def test_a_submission_is_graded_in_a_container_which_is_removed(engine, tmp_path):
    calls = engine()
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    assignment = Assignment(solution)
    references = probes.references(assignment, b"a key", tmp_path / "state", pool=1)[0]
    (tmp_path / "library").mkdir()
    files = assignment.stage(tmp_path / "library")
    right = assignment.solution.cells[assignment.places["01.1"].answer].source
    answers = {"01.1": right, "01.4": "def f():\n    return 0\n"}
    verdicts = grade.decide(assignment, answers, references, files, level="container")
    assert verdicts["01.1"].passed and not verdicts["01.4"].passed
    started = [call for call in calls() if call[0] == "run" and "course-trial" not in call]
    removed = [call for call in calls() if call[0] == "rm"]
    assert len(started) >= 1 and [call[-1] for call in removed] == [options(call)[0]["--name"][0] for call in started]


def test_descriptors_are_sent_over_one_connection_only(tmp_path):
    import os
    import socket

    served = containers.DescriptorSocket(tmp_path / "socket", {"key": "k"}, [0])
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(tmp_path / "socket"))
        _, received, _, _ = socket.recv_fds(first, 1, 4)
        assert len(received) == 1 and json.loads(first.makefile().read()) == {"key": "k"}
        os.close(received[0])
    assert not served.path.exists()
    with socket.socket(socket.AF_UNIX) as second, pytest.raises(OSError):
        second.connect(str(tmp_path / "socket"))
