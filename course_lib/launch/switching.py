"""The link ``.venv`` and the environments in ``.venvs`` that it can point to.

An environment cannot be renamed, because its scripts hold its path. A new one is built in ``.venvs`` under its final
name; when it works, the link is switched, and the old environment is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from course_lib.launch.environment import Environment
from course_lib.launch.errors import LaunchError

FOLDER = ".venvs"
NAMES = ("1", "2")
REPLACED = "replaced"
LOCK = "lock"
POLL_SECONDS = 0.5


def slots(environment: Environment) -> list[Environment]:
    """The places for environments that ``.venv`` does not point to."""
    folders = [environment.root / FOLDER / name for name in NAMES]
    used = environment.folder.resolve()
    return [Environment(environment.root, folder) for folder in folders if folder.resolve() != used]


def switch(environment: Environment, new: Environment) -> None:
    """Make ``.venv`` a link to ``new``, then remove all other environments of the project.

    Raises:
        LaunchError: if the link cannot be made; ``.venv`` is then what it was.
    """
    link, replaced = environment.folder, environment.root / FOLDER / REPLACED
    is_folder = link.is_dir() and not _is_link(link)
    try:
        if is_folder:
            remove(replaced)
            link.rename(replaced)
        elif link.is_file():
            link.unlink()
        _point(link, new.folder)
    except OSError as error:
        if is_folder and replaced.exists() and not link.exists():
            replaced.rename(link)
        raise LaunchError(
            f"{link.name} could not be switched to {new.folder} ({error}); close JupyterLab and start again"
        ) from error
    new.marker.unlink(missing_ok=True)
    for folder in (environment.root / FOLDER).iterdir():
        if folder.name not in (new.folder.name, LOCK):
            remove(folder)


def remove(folder: Path) -> None:
    """Remove an environment; files that are in use stay."""
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Wait until no other start of the course installs here, then keep others waiting.

    Child processes that inherit open files keep the lock: after a kill of start.py it lasts until its pip has ended.
    """
    (root / FOLDER).mkdir(exist_ok=True)
    with (root / FOLDER / LOCK).open("w") as file:
        told = False
        while not _acquire(file):
            if not told:
                print("Another start of the course is still installing; waiting for it.", flush=True)
            told = True
            time.sleep(POLL_SECONDS)
        os.set_inheritable(file.fileno(), True)
        yield


def _acquire(file: IO[str]) -> bool:
    """Whether the lock is held now, or this file system has no locks."""
    held_by_another = PermissionError if sys.platform == "win32" else BlockingIOError
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except held_by_another:
        return False
    except OSError:
        return True
    return True


def _is_link(path: Path) -> bool:
    """Whether ``path`` is a symbolic link, or a junction on Windows."""
    try:
        os.readlink(path)
    except OSError:
        return False
    return True


def _point(link: Path, target: Path) -> None:
    """Replace the link in one step where the system can; the target is relative, so that the project can be moved."""
    if sys.platform == "win32":
        import _winapi

        if _is_link(link):
            os.rmdir(link)
        _winapi.CreateJunction(str(target), str(link))
        return
    fresh = link.with_name(f"{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path(FOLDER, target.name), target_is_directory=True)
    os.replace(fresh, link)
