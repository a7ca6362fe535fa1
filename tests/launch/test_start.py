"""start.py in small copies of the project: what it skips, what it makes anew, what it says when it cannot go on."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from course_lib import launch
from course_lib.launch import inspection, installation, suite
from course_lib.launch.environment import Environment, LaunchError

ROOT = Path(__file__).parents[1]
FAKE_COMMAND = "import sys; print('executed', *sys.argv[1:])"


@pytest.fixture
def project(tmp_path):
    """A project with the real launcher, one shipped file of three bytes, and a ``course`` that only echoes."""
    package = tmp_path / "project" / "course_lib"
    package.mkdir(parents=True)
    root = package.parent
    shutil.copy(ROOT / "start.py", root)
    shutil.copy(ROOT / "course_lib" / "__init__.py", package)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "course_lib" / "launch", package / "launch", ignore=ignore)
    (package / "assets").mkdir()
    shutil.copy(ROOT / "course_lib" / "assets" / "__init__.py", package / "assets")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    entry = {"file": "abc.txt", "bytes": 3, "sha256": digest}
    (package / "assets" / "manifest.json").write_text(json.dumps({"abc": entry}))
    (package / "assets" / "abc.txt").write_text("abc")
    (package / "cli.py").write_text(FAKE_COMMAND)
    (root / "pyproject.toml").write_text("[project]\nname = 'tiny'\n")
    (root / "requirements.lock").write_text("torch==2.14.1\n")
    return root


@pytest.fixture
def ready(project):
    """The same project after a first start: a virtual environment that sees this one's packages, with a stamp."""
    environment = Environment(project)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment.folder], check=True)
    inside = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([environment.python, "-c", inside], capture_output=True, text=True, check=True).stdout.strip()
    Path(own, "course.pth").write_text(sysconfig.get_path("purelib"))
    environment._write_stamp(["classroom"])
    return project


def start(project, *arguments, **variables):
    """Run start.py as a person would; gives exit code, output and the lines of its errors."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "JUPYTER"))}
    command = [sys.executable, str(project / "start.py"), *arguments]
    finished = subprocess.run(command, env=kept | variables, capture_output=True, text=True, check=False, timeout=60)
    return finished.returncode, finished.stdout, finished.stderr.strip().splitlines()


def occupied_port():
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


def test_a_second_start_installs_nothing_and_goes_straight_to_the_lessons(ready):
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


def test_a_taken_port_is_named_with_a_free_one(project):
    server, port = occupied_port()
    with server:
        code, _, errors = start(project, "--port", str(port), "--no-browser")
    assert code == 2 and len(errors) == 1
    assert errors[0].startswith(f"port {port} is taken; start again with --port ")
    assert inspection.is_free(int(errors[0].split()[-1]))
    assert not (project / ".venv").exists()


def test_without_a_wish_the_next_free_port_is_taken():
    server, port = occupied_port()
    with server:
        assert inspection.choose_port(None, port) > port
    with pytest.raises(LaunchError, match=r"--port must lie in 1 \.\.\. 65535, got 70000"):
        inspection.choose_port(70000, 8888)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "asset abc.txt is missing; get it back with: git checkout -- course_lib/assets"),
        (lambda file: file.write_text("abd"), "asset abc.txt is damaged (its sha256 differs from the manifest)"),
        (lambda file: file.with_name("manifest.json").write_text("{"), "manifest.json is missing or damaged"),
    ],
)
def test_a_missing_or_damaged_file_is_one_line_with_the_remedy(project, damage, message):
    damage(project / "course_lib" / "assets" / "abc.txt")
    code, _, errors = start(project, "run")
    assert code == 2 and len(errors) == 1
    assert message in errors[0] and "git checkout -- course_lib/assets" in errors[0]


def test_a_kernel_of_another_environment_is_refused(ready, tmp_path):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = ["/opt/elsewhere/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Other", "language": "python"}))
    code, _, errors = start(ready, "run", JUPYTER_PATH=str(tmp_path / "jupyter"))
    assert code == 2 and len(errors) == 1
    assert "belongs to another environment (/opt/elsewhere/bin/python); unset JUPYTER_PATH" in errors[0]


def test_lessons_are_only_named_after_run(project):
    code, _, errors = start(project, "test", "03")
    assert code == 2 and "lessons can only be named after 'run', got 03" in errors[-1]


def test_pips_own_options_and_another_index_pass_through():
    options = launch.parse(["run", "03", "--wheels", "https://a.example/cpu", "--", "--proxy", "b:1"])
    assert (options.command, options.lessons) == ("run", ["03"])
    assert options.pip == ["--extra-index-url", "https://a.example/cpu", "--proxy", "b:1"]


class TestPreparing:
    """``Environment.prepare`` with a recorded installation instead of a real one."""

    @pytest.fixture
    def installed(self, monkeypatch):
        calls = []
        monkeypatch.setattr(
            installation, "install", lambda environment, extras, options: calls.append((extras, [*options]))
        )
        monkeypatch.setattr(inspection, "check_disk", lambda environment: None)
        return calls

    def test_a_stamp_of_the_same_inputs_is_enough(self, ready, installed):
        assert Environment(ready).prepare() is False
        assert Environment(ready).prepare(extras=["classroom"]) is False
        assert installed == []

    @pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
    def test_a_changed_input_is_installed_with_the_extras_of_before(self, ready, installed, monkeypatch, name):
        monkeypatch.setattr(Environment, "is_sound", lambda environment: True)
        (ready / name).write_text("changed")
        assert Environment(ready).prepare(pip_options=["--no-index"]) is True
        assert installed == [(["classroom"], ["--no-index"])]
        assert Environment(ready).prepare() is False

    def test_another_extra_is_added(self, ready, installed, monkeypatch):
        monkeypatch.setattr(Environment, "is_sound", lambda environment: True)
        assert Environment(ready).prepare(extras=["dev"]) is True
        assert installed == [(["classroom", "dev"], [])]

    def test_jupyterlab_asks_for_no_news_and_no_updates(self, ready, installed, monkeypatch):
        monkeypatch.setattr(Environment, "is_sound", lambda environment: True)
        Environment(ready).prepare(extras=["dev"])
        [file] = Environment(ready).folder.glob("share/jupyter/lab/settings/overrides.json")
        [settings] = json.loads(file.read_text(encoding="utf-8")).values()
        assert settings == {"fetchNews": "false", "checkForUpdates": False}

    def test_an_interrupted_installation_is_made_anew(self, ready, installed):
        environment = Environment(ready)
        remains = environment.folder / "half"
        remains.touch()
        environment.marker.touch()
        assert environment.prepare() is True
        assert not remains.exists() and not environment.marker.exists()
        assert environment.is_ready() and environment.is_sound()

    def test_an_environment_without_a_working_python_is_made_anew(self, project, installed, monkeypatch):
        made = []
        monkeypatch.setattr(Environment, "_make", lambda environment: made.append(environment))
        environment = Environment(project)
        environment.python.parent.mkdir(parents=True)
        environment.python.write_text("not a program")
        assert environment.is_sound() is False
        assert environment.prepare() is True
        assert made == [environment]

    def test_a_failed_installation_leaves_the_mark_of_an_unfinished_one(self, ready, installed, monkeypatch):
        def fail(*_):
            raise LaunchError("no network")

        monkeypatch.setattr(installation, "install", fail)
        monkeypatch.setattr(Environment, "is_sound", lambda environment: True)
        (ready / "requirements.lock").write_text("changed")
        with pytest.raises(LaunchError):
            Environment(ready).prepare()
        assert Environment(ready).is_ready() is False and Environment(ready).marker.exists()

    def test_a_ready_environment_that_lost_its_packages_says_so(self, ready):
        for path in Environment(ready).folder.rglob("course.pth"):
            path.unlink()
        with pytest.raises(LaunchError, match=r"\.venv is damaged \(.*jupyter_client.*; delete the folder"):
            inspection.check_kernel(Environment(ready))

    def test_a_damaged_stamp_counts_as_none(self, ready, installed):
        for content in ("{", "[]", "\x00"):
            Environment(ready).stamp.write_text(content)
            assert Environment(ready).is_ready() is False

    def test_python_without_venv_is_told_what_to_install(self, project, installed, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(LaunchError, match="apt install python3-venv"):
            Environment(project).prepare()


def test_a_full_disk_is_noticed_before_the_download(project, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**10, 10**10, 10**9))
    with pytest.raises(LaunchError, match=r"has 1\.0 GB free and 7\.0 GB are needed; .*CPU-only"):
        inspection.check_disk(Environment(project))


class TestPip:
    """The real pip, which cannot reach anything and installs nothing."""

    @pytest.fixture
    def environment(self, project, monkeypatch):
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "1")
        monkeypatch.setattr(Environment, "python", Path(sys.executable))
        return Environment(project)

    def test_no_network_is_one_line(self, environment):
        options = ["--dry-run", "--index-url", "http://127.0.0.1:9/simple"]
        with pytest.raises(LaunchError) as caught:
            installation.install(environment, [], options)
        assert str(caught.value).startswith("no network: ") and "\n" not in str(caught.value)
        assert environment.log.read_text()

    def test_a_package_that_the_index_lacks_is_named(self, environment):
        with pytest.raises(LaunchError, match=r"the package index has no setuptools"):
            installation.install(environment, ["dev"], ["--dry-run", "--no-index"])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "not enough disk"),
        ("WARNING: Retrying (Retry(total=1\nERROR: No matching distribution found for torch", "no network"),
        ("ERROR: No matching distribution found for torch==2.14.1", "has no torch==2.14.1 for this Python"),
        ("Collecting torch\nERROR: Cannot do it", "the installation failed: Cannot do it (details: x.log)"),
        ("Usage: pip install\n\nno such option: --x\n", "the installation failed: no such option: --x (details"),
        ("", "pip stopped without a reason"),
    ],
)
def test_pips_failures_become_one_line(output, message):
    line = installation.explain(output, Path("x.log"))
    assert message in line and "\n" not in line


def test_progress_tells_the_last_step():
    output = "Collecting numpy\n  Location x is ignored\nCollecting torch==2.14.1 (from y)\n"
    assert installation.current_step("") == "starting pip"
    assert installation.current_step(output) == "collecting torch"
    assert installation.current_step(output + "Installing collected packages: a, b") == "unpacking 2 packages"


class TestSuite:
    def test_every_stage_runs_even_after_a_failure_and_the_exit_code_tells(self, project, capfd):
        called = []

        class Fake(Environment):
            def call(self, *arguments, **variables):
                called.append(variables["COURSE_PROGRESS"])
                return int("mypy" in arguments)

        assert suite.run(Fake(project)) == 1
        assert len(called) == len(suite.stages(project))
        assert not Path(called[0]).parent.exists()
        shown = capfd.readouterr().out
        assert "mypy           FAILED (1)" in shown and "1 failed" in shown and "tests          passed" in shown

    def test_it_covers_lint_types_rules_tests_lessons_and_solutions(self, project):
        stages = {stage.name: stage.command for stage in suite.stages(project)}
        assert list(stages) == [
            "ruff check", "ruff format", "import rules", "mypy", "tests", "hostile", "lessons", "solutions",
        ]  # fmt: skip
        assert "--nbval-lax" in stages["lessons"] and "--nbval" in stages["solutions"]
        assert (ROOT / "tests" / "notebooks" / "sanitize.cfg").is_file()

    def test_ci_runs_the_same_command(self):
        script = (ROOT / ".ci" / "run").read_text()
        assert "python3 start.py test" in script and os.access(ROOT / ".ci" / "run", os.X_OK)


def test_variables_keep_other_pythons_out(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    variables = Environment(project).variables(EXTRA="1")
    assert "PYTHONPATH" not in variables and "PYTHONHOME" not in variables and variables["EXTRA"] == "1"
    assert variables["PATH"].split(os.pathsep)[0] == str(project / ".venv" / "bin")
