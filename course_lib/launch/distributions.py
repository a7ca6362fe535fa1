"""Completeness of installed distributions, judged by their ``RECORD`` files.

pip installs a package in several steps. After a kill, its metadata can be there while files are missing, and pip would
take the package for installed. pip lists its own file ``INSTALLER`` in ``RECORD`` in the last step.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path


def unfinished(site_packages: Path) -> list[Path]:
    """Metadata folders of distributions whose installation was cut."""
    return [
        folder for folder in _metadata(site_packages) if not any(name.endswith("INSTALLER") for name in _files(folder))
    ]


def incomplete(site_packages: Path) -> list[Path]:
    """Metadata folders of distributions whose installation was cut, or whose files are not all there."""
    cut = set(unfinished(site_packages))
    return [
        folder
        for folder in _metadata(site_packages)
        if folder in cut or not all((site_packages / name).exists() for name in _files(folder) if name[-4:] != ".pyc")
    ]


def remove_incomplete(site_packages: Path) -> list[str]:
    """Remove the metadata of incomplete distributions, so that pip installs them again; returns their names."""
    for leftover in site_packages.glob("~*"):  # pip renames what it is about to remove
        shutil.rmtree(leftover, ignore_errors=True)
    found = incomplete(site_packages)
    for folder in found:
        shutil.rmtree(folder)
    return [folder.name.removesuffix(".dist-info") for folder in found]


def _metadata(site_packages: Path) -> Iterator[Path]:
    return (folder for folder in sorted(site_packages.glob("*.dist-info")) if not folder.name.startswith("~"))


def _files(metadata: Path) -> list[str]:
    """Files of a distribution relative to site-packages; empty if the record is missing or damaged."""
    try:
        with (metadata / "RECORD").open(encoding="utf-8", newline="") as stream:
            return [row[0] for row in csv.reader(stream) if row]
    except (OSError, ValueError, csv.Error):
        return []
