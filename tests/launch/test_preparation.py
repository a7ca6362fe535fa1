"""``prepare`` with a recorded installation instead of a real one."""

from __future__ import annotations

import json

import pytest

from course_lib.launch import inspection, installation, preparation
from course_lib.launch.environment import Environment
from course_lib.launch.errors import LaunchError
from course_lib.launch.preparation import prepare


@pytest.fixture
def installed(monkeypatch):
    calls = []
    monkeypatch.setattr(
        installation, "install", lambda environment, extras, options: calls.append((extras, [*options]))
    )
    monkeypatch.setattr(inspection, "check_disk", lambda environment: None)
    return calls


def test_a_stamp_of_the_same_inputs_is_enough(ready, installed):
    assert prepare(Environment(ready)) is False
    assert prepare(Environment(ready), extras=["classroom"]) is False
    assert installed == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_input_is_installed_with_the_extras_of_before(ready, installed, usable, name):
    (ready / name).write_text("changed")
    assert prepare(Environment(ready), pip_options=["--no-index"]) is True
    assert installed == [(["classroom"], ["--no-index"])]
    assert prepare(Environment(ready)) is False


def test_another_extra_is_added(ready, installed, usable):
    assert prepare(Environment(ready), extras=["dev"]) is True
    assert installed == [(["classroom", "dev"], [])]


def test_jupyterlab_asks_for_no_news_and_no_updates(ready, installed, usable):
    prepare(Environment(ready), extras=["dev"])
    [file] = Environment(ready).folder.glob("share/jupyter/lab/settings/overrides.json")
    [settings] = json.loads(file.read_text(encoding="utf-8")).values()
    assert settings == {"fetchNews": "false", "checkForUpdates": False}


def test_an_interrupted_installation_is_created_again(ready, installed):
    environment = Environment(ready)
    remains = environment.folder / "half"
    remains.touch()
    environment.marker.touch()
    assert prepare(environment) is True
    assert not remains.exists() and not environment.marker.exists()
    assert environment.is_ready() and environment.is_usable()


def test_an_environment_without_a_working_python_is_created_again(project, installed, monkeypatch):
    created = []
    monkeypatch.setattr(preparation, "create", created.append)
    environment = Environment(project)
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text("not a program")
    assert environment.is_usable() is False
    assert prepare(environment) is True
    assert created == [environment]


def test_a_failed_installation_keeps_its_marker(ready, installed, usable, monkeypatch):
    def fail(*_):
        raise LaunchError("no network")

    monkeypatch.setattr(installation, "install", fail)
    (ready / "requirements.lock").write_text("changed")
    with pytest.raises(LaunchError):
        prepare(Environment(ready))
    assert Environment(ready).is_ready() is False and Environment(ready).marker.exists()


def test_python_without_venv_is_told_what_to_install(project, installed, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LaunchError, match="apt install python3-venv"):
        prepare(Environment(project))
