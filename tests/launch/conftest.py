"""Small copies of the project for the tests of its launcher, and packages that pip installs without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from course_lib.launch.environment import Environment

ROOT = Path(__file__).parents[2]
FAKE_COMMAND = "import sys\ndef main():\n    print('executed', *sys.argv[1:])\nif __name__ == '__main__':\n    main()\n"
FAKE_JUPYTER = """
import sys
class KernelSpecManager:
    def get_kernel_spec(self, name):
        self.argv = [sys.executable]
        return self
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny-course"
version = "0.1"
dependencies = ["jupyter-client", "many-files"]
[project.optional-dependencies]
classroom = ["classroom-tool"]
dev = ["dev-tool"]
[project.scripts]
course = "course_lib.cli.__main__:main"
"""
BACKEND = """
import tomllib, zipfile
from pathlib import Path

def build_editable(folder, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [f"Requires-Dist: {line}" for line in project["dependencies"]]
    for extra, needed in extras.items():
        lines += [f"Provides-Extra: {extra}", *(f"Requires-Dist: {line}; extra == '{extra}'" for line in needed)]
    info = "tiny_course-0.1.dist-info"
    files = {
        "course.pth": str(Path.cwd()),
        f"{info}/METADATA": "\\n".join(["Metadata-Version: 2.1", "Name: tiny-course", "Version: 0.1", *lines, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": "[console_scripts]\\ncourse = course_lib.cli.__main__:main\\n",
    }
    with zipfile.ZipFile(Path(folder, "tiny_course-0.1-py3-none-any.whl"), "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"]))
    return "tiny_course-0.1-py3-none-any.whl"
"""


@pytest.fixture(scope="session")
def make_project():
    """Write a project with the real launcher, one shipped file of three bytes, and a ``course`` that only echoes."""
    return write_project


@pytest.fixture
def project(tmp_path):
    """Such a project in a folder of its own."""
    return write_project(tmp_path / "project")


@pytest.fixture
def ready(project):
    """The same project after a first start: a virtual environment that sees this one's packages, with a stamp."""
    environment = Environment(project)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment.folder], check=True)
    see_packages_of_the_tests(environment)
    environment.write_stamp(["classroom"])
    return project


@pytest.fixture
def usable(monkeypatch):
    """Every environment counts as one whose packages can be copied."""
    monkeypatch.setattr(Environment, "is_usable", lambda environment: True)


@pytest.fixture(scope="session")
def make_installable():
    """Write a project that pip can install from ``index``."""

    def write(root):
        project = write_project(root)
        (project / "pyproject.toml").write_text(PROJECT)
        (project / "backend.py").write_text(BACKEND)
        (project / "requirements.lock").write_text("# versions\nmany-files==1.0\n")
        return project

    return write


@pytest.fixture
def installable(make_installable, tmp_path):
    """Such a project in a folder of its own."""
    return make_installable(tmp_path / "project")


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    """Variables that make pip install from a folder of small packages."""
    folder = tmp_path_factory.mktemp("wheels")
    write_wheel(folder, "jupyter_client", {"jupyter_client/kernelspec.py": FAKE_JUPYTER})
    for version in ("1.0", "2.0"):
        files = {f"many_files/part_{number}.py": f"version = {version}\n" for number in range(1500)}
        write_wheel(folder, "many_files", {"many_files/__init__.py": f"version = {version!r}\n", **files}, version)
    write_wheel(folder, "classroom_tool", {"classroom_tool.py": ""})
    write_wheel(folder, "dev_tool", {"dev_tool.py": ""})
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="session")
def offline():
    """Variables that make pip find no package at all."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="session")
def start():
    """Run start.py as a person would; gives exit code, output and the lines of its errors."""

    def run(project, *arguments, **variables):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "JUPYTER", "PIP"))}
        command = [sys.executable, str(project / "start.py"), *arguments]
        finished = subprocess.run(
            command, env=kept | variables, capture_output=True, text=True, check=False, timeout=100
        )  # fmt: skip
        return finished.returncode, finished.stdout, finished.stderr.strip().splitlines()

    return run


def write_project(root):
    package = root / "course_lib"
    package.mkdir(parents=True)
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


def see_packages_of_the_tests(environment):
    (environment.site_packages / "course.pth").write_text(f"{environment.root}\n{sysconfig.get_path('purelib')}\n")


def write_wheel(folder, name, files, version="1.0"):
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for file, text in content.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*content, f"{info}/RECORD"]))
