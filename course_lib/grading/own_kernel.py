"""A pytest plugin for `course check`: the kernel of one's own notebook, with the grader's limits on time and output.

The settings are in the variable ``COURSE_OWN_RUN``. The kernel starts without the configuration of the user's IPython
and imports the course from the folder that the settings name.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from nbval.kernel import RunningKernel

from course_lib.grading import nbval_guard, sandbox

VARIABLE = "COURSE_OWN_RUN"


def settings(library: str, home: str, limits: dict[str, Any]) -> str:
    """The value of ``COURSE_OWN_RUN``."""
    return json.dumps({"library": library, "home": home, "limits": limits})


def pytest_configure(config: pytest.Config) -> None:
    """Limit what nbval runs, and set the environment that its kernels inherit."""
    found = json.loads(os.environ[VARIABLE])
    nbval_guard.guard(RunningKernel, sandbox.Limits(**found["limits"]))
    kept = ("PYTHONPATH", "PYTHONHASHSEED", "IPYTHONDIR", "MPLBACKEND", "COURSE_PROGRESS", "OMP_NUM_THREADS",
            "MKL_NUM_THREADS", "TZ")  # fmt: skip
    inside = sandbox.environment(found["home"], found["library"])
    os.environ.update({name: inside[name] for name in kept})
