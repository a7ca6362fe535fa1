"""pip: the options it gets, its progress, and its failures in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from course_lib.launch import installation
from course_lib.launch.environment import Environment
from course_lib.launch.errors import LaunchError


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


def test_progress_shows_the_last_step():
    output = "Collecting numpy\n  Location x is ignored\nCollecting torch==2.14.1 (from y)\n"
    assert installation.current_step("") == "starting pip"
    assert installation.current_step(output) == "collecting torch"
    assert installation.current_step(output + "Installing collected packages: a, b") == "unpacking 2 packages"
