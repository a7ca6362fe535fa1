"""Copies of a virtual environment, and environments whose project was moved.

Scripts, kernels and the editable project hold absolute paths, which are replaced. Packages are copied as hard links,
so a copy takes almost no space, and pip, which removes a file before it writes one, leaves the original as it is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from course_lib.launch.environment import Environment

NOT_COPIED = {"lib64", "pyvenv.cfg"}


def copy_packages(source: Environment, target: Environment) -> None:
    """Hard-link everything that is installed in ``source`` into ``target``, a new environment of the same Python.

    Raises:
        OSError: if this file system has no hard links.
    """
    left_out = NOT_COPIED | {source.stamp.name, source.marker.name}
    origin = source.folder.resolve()

    def ignore(folder: str, names: list[str]) -> set[str]:
        if Path(folder) == origin:
            return left_out & set(names)
        # the links to Python itself
        return {name for name in names if Path(folder, name).is_symlink()} if Path(folder) == origin / "bin" else set()

    shutil.copytree(origin, target.folder, symlinks=True, ignore=ignore, copy_function=_link, dirs_exist_ok=True)
    for old in {str(origin), _created_as(source)}:
        replace_path(target, old, str(target.folder))


def replace_path(environment: Environment, old: str, new: str) -> None:
    """Replace the folder ``old`` by ``new`` in all files of ``environment`` that hold absolute paths."""
    pattern = re.compile(re.escape(os.fsencode(old)) + rb"(?=[\\/'\"\s]|$)")
    for file in _files_with_paths(environment):
        before = file.read_bytes()
        after = pattern.sub(lambda _: os.fsencode(new), before)
        if after != before:
            replaced = file.with_name(file.name + ".new")
            replaced.write_bytes(after)
            shutil.copymode(file, replaced)
            os.replace(replaced, file)


def _files_with_paths(environment: Environment) -> Iterator[Path]:
    site = environment.site_packages
    candidates = [
        *environment.python.parent.iterdir(),
        *environment.folder.glob("share/jupyter/kernels/*/kernel.json"),
        *site.glob("*.pth"),
        *site.glob("__editable__*"),
    ]
    return (path for path in candidates if path.is_file() and not path.is_symlink())


def _created_as(environment: Environment) -> str:
    """The folder that ``python -m venv`` was given; another one if the environment was moved since."""
    settings = (environment.folder / "pyvenv.cfg").read_text(encoding="utf-8")
    command = re.search(r"^command = .* -m venv (?:--\S+ )*(.+)$", settings, re.MULTILINE)
    return command[1] if command else str(environment.folder)


def _link(source: str, target: str) -> None:
    if not os.path.lexists(target):
        os.link(source, target)
