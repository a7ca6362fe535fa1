"""start.py as a person runs it, in small copies of the project."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from course_lib.launch import inspection

ROOT = Path(__file__).parents[2]


def test_a_second_start_installs_nothing_and_runs_the_lessons_at_once(ready, start):
    code, output, errors = start(ready, "run", "00", "03")
    assert (code, output, errors) == (0, "executed run 00 03\n", [])
    assert not (ready / "runs" / "install.log").exists()


def test_an_old_python_gets_one_sentence(project):
    source = (ROOT / "start.py").read_text(encoding="ascii")
    ast.parse(source, feature_version=(3, 4))
    pretend = f"import runpy, sys; sys.version_info = (3, 8, 0); runpy.run_path({str(project / 'start.py')!r})"
    finished = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == (
        "The course needs Python 3.11 or newer, this is Python 3.8; install a newer one, then: python3.11 start.py\n"
    )


def test_a_taken_port_is_named_with_a_free_one(project, start):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, _, errors = start(project, "--port", str(port), "--no-browser")
    assert code == 2 and len(errors) == 1
    assert errors[0].startswith(f"port {port} is taken; start again with --port ")
    assert inspection.is_free(int(errors[0].split()[-1]))
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "asset abc.txt is missing; get it back with: git checkout -- course_lib/assets"),
        (lambda file: file.write_text("abd"), "asset abc.txt is damaged (its sha256 differs from the manifest)"),
        (lambda file: file.with_name("manifest.json").write_text("{"), "manifest.json is missing or damaged"),
    ],
)
def test_a_missing_or_damaged_file_is_one_line_with_the_remedy(project, damage, message, start):
    damage(project / "course_lib" / "assets" / "abc.txt")
    code, _, errors = start(project, "run")
    assert code == 2 and len(errors) == 1
    assert message in errors[0] and "git checkout -- course_lib/assets" in errors[0]


def test_a_kernel_of_another_environment_is_refused(ready, tmp_path, start):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = ["/opt/elsewhere/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Other", "language": "python"}))
    code, _, errors = start(ready, "run", JUPYTER_PATH=str(tmp_path / "jupyter"))
    assert code == 2 and len(errors) == 1
    assert "belongs to another environment (/opt/elsewhere/bin/python); unset JUPYTER_PATH" in errors[0]


def test_lessons_are_only_named_after_run(project, start):
    code, _, errors = start(project, "test", "03")
    assert code == 2 and "lessons can only be named after 'run', got 03" in errors[-1]


@pytest.mark.parametrize("options", [["-I"], ["-P"], []])
def test_it_starts_where_the_scripts_folder_is_not_on_the_path(ready, options):
    command = [sys.executable, *options, str(ready / "start.py"), "run", "05"]
    variables = os.environ | {"PYTHONSAFEPATH": "1"}
    finished = subprocess.run(command, env=variables, cwd="/", capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "executed run 05\n", "")


@pytest.mark.parametrize("name", ["a:b", "c:"])
def test_a_path_that_cannot_hold_an_environment_is_one_line(tmp_path, make_project, start, name):
    project = make_project(tmp_path / name)
    code, _, errors = start(project, "run")
    assert code == 2 and len(errors) == 1
    assert errors[0].startswith("the project's path contains ':'") and str(project) in errors[0]


def test_a_project_without_write_permission_is_one_line(make_project):
    """As another user where the tests run as root, for root may write everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        project = make_project(Path(folder, "project"))
        project.chmod(0o555)
        code = "import os, sys; from course_lib.launch import main; os.geteuid() or os.seteuid(65534); main(['run'])"
        finished = subprocess.run(
            [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
        )
        project.chmod(0o755)
        assert finished.stderr.count("\n") == 1 and not (project / ".venvs").exists()
    assert finished.stderr.startswith(f"no permission to write in {project} (Permission denied)")
