"""Build, complete or update the virtual environment, unless its stamp says that everything is installed.

The environment in use is never changed: a new one is built beside it, from its packages where that is possible, and
takes its place when it works. If that fails, the old one is used as it is.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from course_lib.launch import distributions, inspection, installation, relocation, switching
from course_lib.launch.environment import Environment
from course_lib.launch.errors import DiskFull, LaunchError

# The course works offline, so JupyterLab must not fetch news or look for updates; its settings can change that.
LAB_DEFAULTS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def prepare(environment: Environment, extras: Sequence[str] = (), pip_options: Sequence[str] = ()) -> bool:
    """Make ``environment`` ready, or keep it as it is where it cannot be updated; returns whether it was installed.

    Raises:
        LaunchError: if there is no environment that works with these extras, in one line with the remedy.
    """
    if environment.is_ready(extras):
        return False
    try:
        inspection.check_writable(environment.root)
        with switching.exclusive(environment.root):
            _adopt(environment, extras)
            if not environment.is_ready(extras):
                _install(environment, sorted({*extras, *environment.extras}), pip_options)
    except (LaunchError, OSError) as error:
        _keep(environment, extras, error)
        return False
    return True


def repair(environment: Environment, extras: Sequence[str] = (), pip_options: Sequence[str] = ()) -> bool:
    """Install again what is missing in an environment whose stamp says that it is ready; returns as ``prepare``."""
    environment.change_stamp(identity=None)
    return prepare(environment, extras, pip_options)


def _adopt(environment: Environment, extras: Sequence[str]) -> None:
    """Finish an interrupted switch, and correct the paths in an environment whose project was moved."""
    root = environment.stamped_root
    if root not in (None, str(environment.root)):
        relocation.replace_path(environment, str(root), str(environment.root))
        environment.change_stamp(root=str(environment.root))
    for built in switching.slots(environment):
        if not environment.is_ready(extras) and built.is_ready(extras):
            switching.switch(environment, built)


def _install(environment: Environment, extras: Sequence[str], pip_options: Sequence[str]) -> None:
    started = time.monotonic()
    new = _unfinished(environment) or _begin(environment)
    inspection.check_disk(new)
    installation.install(new, extras, pip_options)
    _write_lab_defaults(new)
    if problem := new.problem():
        raise LaunchError(f"the installation did not succeed: {problem} (details: {new.log})")
    new.write_stamp(extras)
    switching.switch(environment, new)
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


def _unfinished(environment: Environment) -> Environment | None:
    """The environment of an interrupted installation, without the packages that were cut; None if there is none."""
    for new in switching.slots(environment):
        if new.marker.exists() and new.is_usable():
            print("Continuing the interrupted installation.", flush=True)
            new.stamp.unlink(missing_ok=True)
            distributions.remove_incomplete(new.site_packages)
            return new
    return None


def _begin(environment: Environment) -> Environment:
    """A new environment, with the packages of the one in use if that works."""
    new = switching.slots(environment)[0]
    try:
        if environment.is_usable():
            create(new, environment.python, "--without-pip")
            relocation.copy_packages(environment, new)
            distributions.remove_incomplete(new.site_packages)
        else:
            create(new)
    except (LaunchError, OSError):
        create(new)
    new.marker.touch()
    return new


def create(new: Environment, python: Path | str = sys.executable, *options: str) -> None:
    """Create an empty virtual environment in place of whatever is in its folder.

    Args:
        new: environment to create.
        python: the Python to create it with.
        options: further options of ``python -m venv``.

    Raises:
        LaunchError: if this Python lacks venv, or venv fails.
    """
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise LaunchError(
            "this Python has no venv module; install it (Debian, Ubuntu: apt install python3-venv) and start again"
        )
    switching.remove(new.folder)
    command = [str(python), "-m", "venv", "--clear", *options, str(new.folder)]
    # the lock of this start is inherited
    finished = subprocess.run(command, capture_output=True, text=True, check=False, close_fds=False)
    if finished.returncode:
        reason = (finished.stderr or finished.stdout).strip().splitlines() or ["no reason given"]
        raise LaunchError(f"could not create {new.folder} ({reason[-1]}); delete this folder and start again")


def _keep(environment: Environment, extras: Sequence[str], error: Exception) -> None:
    """Say that the environment stays as it was; raise ``LaunchError`` if it does not work with these extras."""
    reason = str(error)
    if not set(extras) <= environment.extras:
        missing = ", ".join(sorted({*extras} - environment.extras))
        kept = f"; .venv stays as it was, without {missing}" if environment.folder.exists() else ""
        raise LaunchError(f"{reason}{kept}") from error
    if environment.problem():
        raise error if isinstance(error, LaunchError) else LaunchError(f"installation failed: {reason}") from error
    if isinstance(error, DiskFull):
        for new in switching.slots(environment):
            switching.remove(new.folder)
    print(f"Warning: .venv could not be updated and is used as it was: {reason}", file=sys.stderr, flush=True)


def _write_lab_defaults(environment: Environment) -> None:
    file = environment.folder / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)  # it may be a hard link to the one in use
    file.write_text(json.dumps(LAB_DEFAULTS, indent=1), encoding="utf-8")
