"""pyproject.toml, requirements.lock and environment.yml say the same, and so does what is installed."""

from __future__ import annotations

import runpy
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_lib.doctor import locked_versions

ROOT = Path(__file__).parents[1]
PIP_ONLY = {"constriction"}  # environment.yml has pip install it with the course
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LEARNER = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
LOCKED = [lines for name, lines in EXTRAS.items() if name != "peers"]  # peers are installed by hand, for comparisons
EVERYTHING = [*LEARNER, *(requirement for lines in LOCKED for requirement in lines)]
LOCK_LINES = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
LOCK = locked_versions(LOCK_LINES)


def conda_ranges():
    """Conda name → version range, without pip's own section."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"][0] == "conda-forge"
    lines = [line for line in environment["dependencies"] if isinstance(line, str)]
    return dict((*line.split(maxsplit=1), "")[:2] for line in lines)


@pytest.mark.parametrize("requirement", EVERYTHING, ids=lambda requirement: requirement.name)
def test_the_lock_pins_a_version_that_the_project_allows(requirement):
    pinned = LOCK[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned), f"{requirement} but the lock has {pinned}"


@pytest.mark.skipif((sys.platform, *sys.version_info[:2]) != ("linux", 3, 11), reason="where the lock is written")
def test_the_lock_is_complete_and_holds_nothing_else():
    build_lock = runpy.run_path(str(ROOT / "benchmarks" / "build_lock.py"))
    installed = build_lock["closure"](EVERYTHING)
    assert build_lock["lock_lines"](installed) == [line for line in LOCK_LINES if not line.startswith("#")]


def test_what_is_installed_is_what_the_lock_says():
    differing = {name: (version(name), LOCK[name]) for name in ("torch", "torchvision", "numpy", "onnxruntime")}
    assert all(installed.split("+")[0] == pinned for installed, pinned in differing.values()), differing


def test_the_lock_leaves_the_cuda_libraries_to_torch():
    assert not [name for name in LOCK if name.startswith(("nvidia", "cuda", "triton"))]


def test_conda_users_get_the_learners_packages_in_the_same_ranges():
    expected = {
        CONDA_NAMES.get(item.name, item.name): str(item.specifier) for item in LEARNER if item.name not in PIP_ONLY
    }
    expected["python"] = PROJECT["requires-python"]
    found = {name: limits for name, limits in conda_ranges().items() if name != "pip"}
    as_sets = [{name: set(limits.split(",")) for name, limits in ranges.items()} for ranges in (expected, found)]
    assert as_sets[0] == as_sets[1]


def test_the_learners_install_stays_free_of_the_graders():
    learner = {requirement.name for requirement in LEARNER}
    assert not learner & {requirement.name for lines in EXTRAS.values() for requirement in lines}
    assert {"nbgrader", "distributed", "ruff", "mypy"}.isdisjoint(learner)


def test_licences_stand_beside_the_data():
    licences = {path.name for path in (ROOT / "course_lib" / "assets" / "licences").iterdir()}
    assert licences == {"fashion_mnist-MIT.txt", "sentiment-MIT.txt", "minilm-NOTICE.txt"}
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")
