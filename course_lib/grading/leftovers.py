"""Temporary folders that name their process, so that those of a grader that was killed can be removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

FOLDER = re.compile(r"^course-(?:library|grade|trial)-(\d+)-")
OLD_SECONDS = 3600


def prefix(kind: str) -> str:
    """The prefix of a temporary folder of this process; ``kind`` is ``"library"``, ``"grade"`` or ``"trial"``."""
    return f"course-{kind}-{os.getpid()}-"


def sweep(out: Path) -> None:
    """Remove the temporary folders of this user's processes that have ended, and half-written files in ``out``."""
    for folder in Path(tempfile.gettempdir()).glob("course-*-*"):
        found = FOLDER.match(folder.name)
        if found and _is_own(folder) and not _runs(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)
    for file in [*out.glob(".*.partial"), *out.glob("results/.*.partial"), *out.glob("feedback/.*.partial")]:
        with contextlib.suppress(FileNotFoundError):  # another grader may end, or sweep, at the same moment
            if time.time() - file.stat().st_mtime > OLD_SECONDS:
                file.unlink()


def _is_own(folder: Path) -> bool:
    try:
        return not folder.is_symlink() and (not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid())
    except FileNotFoundError:
        return False


def _runs(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid)
