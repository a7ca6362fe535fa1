"""Shipped data and trained models: their paths and checksums.

``manifest.json`` lists every file with its size, sha256, licence and source; a process verifies a file on first use.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"


class AssetError(RuntimeError):
    """A shipped file is missing or damaged."""


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """Name of each asset → its entry: ``file``, ``bytes``, ``sha256``, ``licence``, ``source``, ``card``."""
    if not MANIFEST.is_file():
        raise AssetError(f"{MANIFEST.name} is missing; get it back with: git checkout -- course_lib/assets")
    return json.loads(MANIFEST.read_text(encoding="utf-8"))


@cache
def path(name: str) -> Path:
    """Path of an asset, verified against its sha256 once per process.

    Raises:
        ValueError: if no asset has this name.
        AssetError: if the file is missing or damaged, with the command that restores it.
    """
    if name not in manifest():
        raise ValueError(f"name must be one of {', '.join(map(repr, manifest()))}; got {name!r}")
    entry = manifest()[name]
    file = FOLDER / entry["file"]
    if problem := _problem(file, entry):
        raise AssetError(f"asset {entry['file']} {problem}; get it back with: git checkout -- course_lib/assets")
    return file


def results(name: str) -> dict[str, Any]:
    """Stored results of ``benchmarks/NAME.py``: name of a table → machine, threads, rows."""
    return json.loads(path(f"{name}_results").read_text(encoding="utf-8"))


def verify() -> list[str]:
    """One line for each missing or damaged asset; an empty list if there is none."""
    lines = []
    for name in manifest():
        try:
            path(name)
        except AssetError as error:
            lines.append(str(error))
    return lines


def sha256(file: Path) -> str:
    """Hex digest of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder() -> Path:
    """Folder for measurements of this machine and for downloaded data (``COURSE_CACHE`` overrides it).

    A user without a home folder gets a temporary one, which is removed when Python ends.
    """
    if override := os.environ.get("COURSE_CACHE"):
        return Path(override)
    from platformdirs import user_cache_path

    try:
        return user_cache_path("compression-course").expanduser()
    except RuntimeError:
        return Path(_temporary_cache().name)


@cache
def _temporary_cache() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="compression-course-")


def _problem(file: Path, entry: dict[str, Any]) -> str | None:
    if not file.is_file():
        return "is missing"
    if file.stat().st_size != entry["bytes"]:
        return f"is damaged ({file.stat().st_size:,} bytes instead of {entry['bytes']:,})"
    if sha256(file) != entry["sha256"]:
        return "is damaged (its sha256 differs from the manifest)"
    return None
