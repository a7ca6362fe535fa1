"""Small copies of the project for the tests of its launcher."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from course_lib.launch.environment import Environment

ROOT = Path(__file__).parents[2]
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
    (package / "cli").mkdir()
    (package / "cli" / "__main__.py").write_text(FAKE_COMMAND)
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
    environment.write_stamp(["classroom"])
    return project


@pytest.fixture
def usable(monkeypatch):
    """Every environment counts as one that can be completed in place."""
    monkeypatch.setattr(Environment, "is_usable", lambda environment: True)
