"""What decides an installation: the parsed requirements of ``pyproject.toml`` and the versions of the lock."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_lib.launch.errors import LaunchError

PROJECT = "pyproject.toml"
LOCK = "requirements.lock"
COMMENT = re.compile(r"(^|\s)#.*")


def identity(root: Path, extras: Iterable[str]) -> str:
    """Hash of everything that decides what is installed; comments, order and spacing do not change it.

    Args:
        root: folder of the project.
        extras: extras that are installed.
    """
    project = _project(root)
    optional = project.get("optional-dependencies", {})
    decisive = {
        "dependencies": _normalized(project.get("dependencies", [])),
        "extras": {extra: _normalized(optional.get(extra, [])) for extra in sorted(set(extras))},
        "scripts": project.get("scripts", {}),
        "lock": _normalized(_lock_lines(root)),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def names(root: Path) -> list[str]:
    """Names of the packages that every installation needs; those for some systems only are left out."""
    lines = [line for line in _project(root).get("dependencies", []) if ";" not in line]
    return [re.split(r"[^\w.-]", line.strip(), maxsplit=1)[0] for line in lines]


def locked_version(root: Path, package: str) -> str | None:
    """The version of ``package`` in the lock, or None if it is not locked."""
    pinned = dict(line.split(";")[0].split("==", 1) for line in _normalized(_lock_lines(root)) if "==" in line)
    return pinned.get(package)


def _project(root: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads((root / PROJECT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LaunchError(f"{PROJECT} is missing or damaged ({error}); {_remedy(PROJECT)}") from error
    return content.get("project", {})


def _lock_lines(root: Path) -> list[str]:
    try:
        return (root / LOCK).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise LaunchError(f"{LOCK} is missing or damaged ({error}); {_remedy(LOCK)}") from error


def _remedy(name: str) -> str:
    return f"get it back with: git checkout -- {name}"


def _normalized(lines: Iterable[str]) -> list[str]:
    bare = (re.sub(r"\s+", "", COMMENT.sub("", line)) for line in lines)
    return sorted(line for line in bare if line)
