"""Create or complete the virtual environment, unless its stamp says that everything is installed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from course_lib.launch import inspection, installation
from course_lib.launch.environment import Environment
from course_lib.launch.errors import LaunchError

# The course works offline, so JupyterLab must not fetch news or look for updates; its settings can change that.
LAB_DEFAULTS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def prepare(environment: Environment, extras: Sequence[str] = (), pip_options: Sequence[str] = ()) -> bool:
    """Create or complete ``environment``; returns whether anything had to be installed.

    Raises:
        LaunchError: if that fails, in one line with the remedy.
    """
    if environment.is_ready(extras):
        return False
    extras = sorted({*extras, *environment.extras})
    started = time.monotonic()
    if not environment.is_usable():
        create(environment)
    inspection.check_disk(environment)
    environment.marker.touch()
    installation.install(environment, extras, pip_options)
    _write_lab_defaults(environment)
    environment.write_stamp(extras)
    environment.marker.unlink(missing_ok=True)
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)
    return True


def create(environment: Environment) -> None:
    """Create an empty virtual environment in place of whatever is there.

    Raises:
        LaunchError: if this Python lacks venv, or venv fails.
    """
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise LaunchError(
            "this Python has no venv module; install it (Debian, Ubuntu: apt install python3-venv) and start again"
        )
    folder = environment.folder
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        print("The environment in .venv is unfinished or was made elsewhere; creating it again.", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "venv", "--clear", str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        reason = (finished.stderr or finished.stdout).strip().splitlines() or ["no reason given"]
        raise LaunchError(f"could not create .venv ({reason[-1]}); delete the folder .venv and start again")


def _write_lab_defaults(environment: Environment) -> None:
    file = environment.folder / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(LAB_DEFAULTS, indent=1), encoding="utf-8")
