"""``prepare`` with a recorded installation instead of a real one."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig

import pytest

from course_lib.launch import inspection, installation, preparation, relocation, switching
from course_lib.launch.environment import Environment
from course_lib.launch.errors import DiskFull, LaunchError
from course_lib.launch.preparation import prepare, repair


@pytest.fixture
def installed(monkeypatch):
    calls = []

    def install(environment, extras, options):
        calls.append((extras, [*options]))
        packages = f"{environment.root}\n{sysconfig.get_path('purelib')}\n"
        (environment.site_packages / "course.pth").write_text(packages)

    monkeypatch.setattr(installation, "install", install)
    monkeypatch.setattr(inspection, "check_disk", lambda environment: None)
    return calls


@pytest.fixture
def failing(installed, monkeypatch):
    def fail(*_):
        raise LaunchError("no network")

    monkeypatch.setattr(installation, "install", fail)


def test_a_stamp_of_the_same_inputs_is_enough(ready, installed):
    assert prepare(Environment(ready)) is False
    assert prepare(Environment(ready), extras=["classroom"]) is False
    assert installed == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("requirements.lock", "# a comment\n\ntorch == 2.14.1  # another\n"),
        ("pyproject.toml", "# a comment\n[project]\nname = 'tiny'\ndescription = 'x'\n[tool.ruff]\nline-length = 1\n"),
    ],
)
def test_a_changed_comment_installs_nothing(ready, installed, name, content):
    (ready / name).write_text(content)
    assert prepare(Environment(ready)) is False
    assert installed == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("requirements.lock", "torch==2.14.2\n"),
        ("pyproject.toml", "[project]\nname = 'tiny'\noptional-dependencies = { classroom = ['nbval'] }\n"),
        ("pyproject.toml", "[project]\nname = 'tiny'\nscripts = { course = 'course_lib.cli:main' }\n"),
    ],
)
def test_a_changed_requirement_is_installed_with_the_extras_of_before(ready, installed, usable, name, content):
    (ready / name).write_text(content)
    assert prepare(Environment(ready), pip_options=["--no-index"]) is True
    assert installed == [(["classroom"], ["--no-index"])]
    assert prepare(Environment(ready)) is False


def test_another_extra_is_added(ready, installed, usable):
    assert prepare(Environment(ready), extras=["dev"]) is True
    assert installed == [(["classroom", "dev"], [])]


def test_an_extra_that_nobody_installed_changes_nothing(ready, installed):
    (ready / "pyproject.toml").write_text("[project]\nname = 'tiny'\noptional-dependencies = { dev = ['nbval'] }\n")
    assert prepare(Environment(ready)) is False


def test_jupyterlab_asks_for_no_news_and_no_updates(ready, installed, usable):
    prepare(Environment(ready), extras=["dev"])
    [file] = Environment(ready).folder.glob("share/jupyter/lab/settings/overrides.json")
    [settings] = json.loads(file.read_text(encoding="utf-8")).values()
    assert settings == {"fetchNews": "false", "checkForUpdates": False}


def test_a_new_environment_replaces_the_folder_when_it_works_and_the_old_one_is_removed(ready, installed, usable):
    environment = Environment(ready)
    assert not environment.folder.is_symlink()
    prepare(environment, extras=["dev"])
    assert os.readlink(environment.folder) == os.path.join(".venvs", "1")
    assert sorted(path.name for path in (ready / ".venvs").iterdir()) == ["1", "lock"]
    prepare(environment, extras=["more"])
    assert os.readlink(environment.folder) == os.path.join(".venvs", "2")
    assert sorted(path.name for path in (ready / ".venvs").iterdir()) == ["2", "lock"]


def test_a_failed_update_keeps_the_environment_and_warns(ready, failing, usable, capsys):
    (ready / "requirements.lock").write_text("torch==2.14.2\n")
    before = Environment(ready).stamp.read_text()
    assert prepare(Environment(ready)) is False
    assert capsys.readouterr().err == "Warning: .venv could not be updated and is used as it was: no network\n"
    assert Environment(ready).stamp.read_text() == before and Environment(ready).problem() is None


def test_tests_whose_tools_cannot_be_installed_are_an_error_and_the_environment_stays(ready, failing, usable):
    with pytest.raises(LaunchError, match=r"no network; \.venv stays as it was, without dev"):
        prepare(Environment(ready), extras=["dev"])
    assert Environment(ready).is_ready()


def test_a_full_disk_keeps_the_environment_and_says_so(ready, installed, usable, monkeypatch, capsys):
    def full(environment):
        raise DiskFull("not enough disk: 1.0 GB free and 7.0 GB are needed")

    monkeypatch.setattr(inspection, "check_disk", full)
    (ready / "requirements.lock").write_text("torch==2.14.2\n")
    assert prepare(Environment(ready)) is False
    assert "is used as it was: not enough disk" in capsys.readouterr().err and installed == []
    assert [path.name for path in (ready / ".venvs").iterdir()] == [switching.LOCK]


def test_an_interruption_keeps_the_environment_and_the_next_start_continues(ready, installed, usable, monkeypatch):
    install = installation.install

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(installation, "install", interrupted)
    environment = Environment(ready)
    with pytest.raises(KeyboardInterrupt):
        prepare(environment, extras=["dev"])
    assert environment.is_ready()
    [unfinished] = [new for new in switching.slots(environment) if new.marker.exists()]
    (unfinished.folder / "what-is-there").touch()
    monkeypatch.setattr(installation, "install", install)
    assert prepare(environment, extras=["dev"]) is True
    assert (environment.folder / "what-is-there").exists()


def test_an_environment_that_lost_the_course_is_not_kept(ready, failing, usable):
    next(Environment(ready).folder.rglob("course.pth")).unlink()
    (ready / "requirements.lock").write_text("torch==2.14.2\n")
    with pytest.raises(LaunchError, match=r"^no network$"):
        prepare(Environment(ready))


def test_an_interrupted_switch_is_finished_without_installing(ready, installed, usable, monkeypatch):
    environment = Environment(ready)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(switching, "switch", killed)
        prepare(environment, extras=["dev"])
    shutil.move(environment.folder, ready / ".venvs" / "replaced")
    installed.clear()
    assert prepare(environment, extras=["dev"]) is True and installed == []
    assert environment.is_ready(["dev"])
    assert sorted(path.name for path in (ready / ".venvs").iterdir()) == ["1", "lock"]


def test_where_packages_cannot_be_shared_the_new_environment_starts_empty(ready, installed, usable, monkeypatch):
    def refused(*_):
        raise OSError("no hard links here")

    monkeypatch.setattr(relocation, "copy_packages", refused)
    assert prepare(Environment(ready), extras=["dev"]) is True
    assert Environment(ready).is_ready(["dev"])


def test_a_link_that_cannot_be_made_leaves_the_folder(ready, installed, usable, monkeypatch, capsys):
    def refused(*_):
        raise OSError("no links here")

    monkeypatch.setattr(switching, "_point", refused)
    (ready / "requirements.lock").write_text("torch==2.14.2\n")
    assert prepare(Environment(ready)) is False
    assert "no links here" in capsys.readouterr().err and Environment(ready).problem() is None


def test_a_repair_keeps_the_extras(ready, installed, usable):
    assert repair(Environment(ready)) is True
    assert installed == [(["classroom"], [])]


def test_an_environment_without_a_working_python_is_created_again(project, installed, monkeypatch):
    created, create = [], preparation.create

    def record(new, *arguments):
        created.append(new.folder)
        create(new, *arguments)

    monkeypatch.setattr(preparation, "create", record)
    environment = Environment(project)
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text("not a program")
    assert environment.is_usable() is False
    assert prepare(environment) is True
    assert created == [project / ".venvs" / "1"] and environment.is_ready()


def test_damaged_project_files_are_one_line_with_the_remedy(ready, installed):
    (ready / "pyproject.toml").write_text("<<<<<<< ours")
    with pytest.raises(LaunchError, match=r"pyproject\.toml is missing or damaged .*git checkout -- pyproject\.toml"):
        prepare(Environment(ready))


def test_python_without_venv_is_told_what_to_install(project, installed, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LaunchError, match="apt install python3-venv"):
        prepare(Environment(project))
