"""One submission as it was found, and how its content is read."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from course_lib.grading.submission import NOTEBOOK_BYTES, Refused

NESTED_BYTES = 100_000_000
MAX_RATIO = 200


@dataclass(frozen=True)
class Submission:
    """One submitted notebook.

    Args:
        student: a name from the folder or file; text of the learner.
        path: the notebook, or the zip file that contains it.
        members: its name within the zip file; the last of several names for a zip file within a zip file.
        problem: why it is not accepted.
        packed: the student made the zip file, so the times of its entries are not trusted.
        name: its path as the instructor knows it, for lists.
        lesson: the lesson of its exercise, such as ``"03"``; empty if it is not known.
        upload: the number that a learning system gave it; later ones are higher.
        received: when a learning system received it, according to its name, on the local clock.
        others: what else of this student and exercise was found, with the reason why it is not graded.
    """

    student: str
    path: str
    members: tuple[str, ...] = ()
    problem: str = ""
    packed: bool = False
    name: str = ""
    lesson: str = ""
    upload: int = 0
    received: datetime | None = None
    others: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, str]:
        """Student and lesson: there is one result for each."""
        return self.student, self.lesson

    def read(self, limit: int = NOTEBOOK_BYTES) -> bytes:
        """The content, at most one byte more than ``limit``.

        Raises:
            Refused: if it is not accepted, or no longer a regular file.
        """
        if self.problem:
            raise Refused(self.problem)
        return open_member(Path(self.path), self.members, limit) if self.members else _read(Path(self.path), limit)


def open_member(path: Path, members: tuple[str, ...], limit: int) -> bytes:
    """The content of a file within a zip file, at most one byte more than ``limit``.

    Raises:
        Refused: if it cannot be unpacked.
    """
    try:
        with path.open("rb") as file:
            stream: io.BufferedIOBase = file
            for member in members[:-1]:
                with zipfile.ZipFile(stream) as archive, archive.open(member) as entry:
                    stream = io.BytesIO(entry.read(NESTED_BYTES + 1))
            with zipfile.ZipFile(stream) as archive, archive.open(members[-1]) as entry:
                return entry.read(limit + 1)
    except Exception as error:  # zlib and lzma add their own classes to those of zipfile
        raise Refused(f"it cannot be unpacked ({type(error).__name__})") from error


def _read(path: Path, limit: int) -> bytes:
    """Read a file that is checked after it was opened, so that it cannot be replaced between check and reading."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Refused(f"it cannot be opened ({type(error).__name__})") from error
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("it is not a regular file")
        return stream.read(limit + 1)
