"""Real installations with pip from a folder of small packages: first start, updates, kills, no network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from course_lib.launch import switching
from course_lib.launch.environment import Environment

pytestmark = pytest.mark.skipif(os.name == "nt", reason="uses POSIX signals and paths")


@pytest.fixture(scope="module")
def first_start(tmp_path_factory, make_installable, index, start):
    """A project after a first start, never changed by a test."""
    project = make_installable(tmp_path_factory.mktemp("first") / "project")
    assert start(project, "run", **index)[0] == 0
    return project


@pytest.fixture
def installed(first_start, tmp_path):
    """The same project copied to another folder, environment and all."""
    subprocess.run(["cp", "-a", first_start, tmp_path / "copy"], check=True)
    return tmp_path / "copy"


def course(project):
    """What the ``course`` command of the environment prints."""
    return subprocess.run(
        [project / ".venv" / "bin" / "course", "x"], capture_output=True, text=True, check=True
    ).stdout


def version(project):
    """The version of a package that the kernels of the environment see, and where the course comes from."""
    code = "import many_files, course_lib; print(many_files.version, course_lib.__file__)"
    command = [project / ".venv" / "bin" / "python", "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def state(project):
    """Each file of the environment in use with its content."""
    folder = (project / ".venv").resolve()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py") if path.is_file()}


def test_the_first_start_makes_a_link_and_the_command(first_start):
    assert os.readlink(first_start / ".venv") == ".venvs/1"
    assert course(first_start) == "executed x\n"


def test_a_moved_project_works_without_network_and_without_installing(installed, offline, start):
    assert start(installed, "run", "04", **offline) == (0, "executed run 04\n", [])
    assert course(installed) == "executed x\n"
    assert version(installed) == ["1.0", str(installed / "course_lib" / "__init__.py")]


def test_an_update_takes_the_place_of_the_old_environment_when_it_works(installed, index, start):
    (installed / "requirements.lock").write_text("many-files==2.0\n")
    code, output, errors = start(installed, "run", **index)
    assert (code, errors) == (0, []) and output.endswith("executed run\n")
    assert os.readlink(installed / ".venv") == ".venvs/2" and not (installed / ".venvs" / "1").exists()
    assert version(installed)[0] == "2.0" and course(installed) == "executed x\n"
    scripts = [path for path in (installed / ".venvs" / "2" / "bin").iterdir() if path.is_file()]
    assert not [path.name for path in scripts if b".venvs/1" in path.read_bytes()]


def test_without_network_the_lessons_open_in_the_old_environment(installed, offline, start):
    (installed / "requirements.lock").write_text("many-files==2.0\n")
    start(installed, "run", **offline)
    before = state(installed)
    code, output, errors = start(installed, "run", **offline)
    assert code == 0 and output.endswith("executed run\n")
    assert len(errors) == 1 and errors[0].startswith("Warning: .venv could not be updated and is used as it was: ")
    assert state(installed) == before and version(installed)[0] == "1.0" and course(installed) == "executed x\n"


def test_start_py_test_without_network_leaves_the_lessons(installed, offline, start):
    code, _, errors = start(installed, "test", **offline)
    assert code == 2 and len(errors) == 1 and "without classroom, dev" in errors[0]
    assert start(installed, "run", "01", **offline) == (0, "executed run 01\n", [])


def test_a_damaged_environment_is_repaired(installed, index, start):
    for file in Environment(installed).site_packages.glob("jupyter_client/*.py"):
        file.unlink()
    code, output, errors = start(installed, "run", **index)
    assert (code, errors) == (0, []) and "Packages are missing in .venv" in output and "executed run" in output


def test_a_damaged_environment_that_cannot_be_repaired_is_named(installed, offline, start):
    for file in Environment(installed).site_packages.glob("jupyter_client/*.py"):
        file.unlink()
    code, _, errors = start(installed, "run", **offline)
    assert code == 2 and "delete the folders .venv and .venvs" in errors[-1]


def test_an_environment_of_another_python_is_used(installed, tmp_path, offline, start):
    """The running Python claims another version; the environment still has its own."""
    pretend = tmp_path / "pretend.py"
    pretend.write_text(
        "import runpy, sys\nsys.version_info = (3, 99, 0, 'final', 0)\nsys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [sys.executable, pretend, installed / "start.py", "run", "02"]
    finished = subprocess.run(command, env=os.environ | offline, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "executed run 02\n", "")


def wait_for(condition, process, seconds=60):
    """Wait until ``condition`` holds while ``process`` runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def begin(project, variables):
    """A start of the course in a process group of its own."""
    command = [sys.executable, project / "start.py", "run"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True}
    # a shell starts its background jobs, and so the tests, with this signal ignored
    listen = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, env=os.environ | variables, text=True, preexec_fn=listen, **quiet)


@pytest.mark.parametrize("whole_group", [True, False], ids=["with its pip", "alone"])
def test_an_installation_that_was_killed_is_completed_by_the_next_start(installable, index, start, whole_group):
    """Killed while pip writes the files of a package, of which a part is there."""
    process = begin(installable, index)
    packages = installable / ".venvs" / "1"
    wait_for(lambda: len(list(packages.glob("lib/*/site-packages/many_files/part_*.py"))) > 100, process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    assert not (installable / ".venv").exists()
    before = (packages / "pyvenv.cfg").stat().st_mtime_ns
    code, output, errors = start(installable, "run", **index)
    assert (code, errors) == (0, []) and "Continuing the interrupted installation." in output
    assert (installable / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == before
    assert len(list(packages.glob("lib/*/site-packages/many_files/part_*.py"))) == 1500
    assert version(installable)[0] == "1.0" and course(installable) == "executed x\n"


def test_ctrl_c_during_an_update_leaves_the_old_environment_and_the_next_start_continues(installed, index, start):
    assert start(installed, "run", **index)[0] == 0
    (installed / "requirements.lock").write_text("many-files==2.0\n")
    process = begin(installed, index)
    wait_for((installed / ".venvs" / "2" / Environment(installed).marker.name).exists, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "Stopped; run the same command again to continue.\n"
    assert version(installed)[0] == "1.0" and course(installed) == "executed x\n"
    code, output, _ = start(installed, "run", **index)
    assert code == 0 and "Continuing the interrupted installation." in output and version(installed)[0] == "2.0"


def test_two_starts_at_once_install_once(installable, index):
    processes = [begin(installable, index) for _ in range(2)]
    assert [process.communicate(timeout=100)[1] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(path.name for path in Path(installable, ".venvs").iterdir()) == ["1", switching.LOCK]
