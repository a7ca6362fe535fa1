"""Late penalties: the time of submission, the due date, and a rule such as ``10%/day``.

The time is the one in ``timestamp.txt``, which nbgrader writes when it collects, only in its folders
``STUDENT/EXERCISE/EXERCISE.ipynb``; else the time of the entry in a learning system's zip file, in the time zone of
this machine; else the time of the file. Times that a student could have written are ignored. If files were copied
without their times, do not use a penalty.
"""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from course_lib.grading.intake import Submission

TIMESTAMP = "timestamp.txt"
TIMESTAMP_BYTES = 200
RULE = re.compile(r"^(\d+(?:\.\d+)?)%(?:/(hour|day))?$")
UNITS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


@dataclass(frozen=True)
class Rule:
    """``share`` of the points is taken off for each ``unit`` begun after ``due``; once, if there is no unit."""

    due: datetime
    share: float
    unit: timedelta | None = None

    def penalty(self, handed_in: datetime) -> float:
        """Fraction of the points that is taken off, in [0, 1]."""
        if handed_in <= self.due:
            return 0.0
        begun = 1 if self.unit is None else math.ceil((handed_in - self.due) / self.unit)
        return min(1.0, round(self.share * begun, 6))


def rule(due: str, penalty: str) -> Rule:
    """Read a rule such as ``rule("2026-11-30T23:59", "10%/day")``.

    Args:
        due: date and time in ISO form; the time zone of this machine unless it names another.
        penalty: ``N%``, ``N%/hour`` or ``N%/day``.

    Raises:
        ValueError: if one of them cannot be read.
    """
    try:
        moment = datetime.fromisoformat(due).astimezone()
    except ValueError as error:
        raise ValueError(f"due must be a date and time such as 2026-11-30T23:59, got {due!r}") from error
    found = RULE.match(penalty)
    if found is None or not 0 <= float(found[1]) <= 100:
        raise ValueError(f"late penalty must be like 20%, 1%/hour or 10%/day, got {penalty!r}")
    return Rule(moment, float(found[1]) / 100, UNITS.get(found[2] or ""))


def penalties(found: Iterable[Submission], by: Rule) -> dict[str, float]:
    """Student → fraction of the points that is taken off, for those who were late."""
    made = {one.student: by.penalty(handed_in(one)) for one in found if not one.problem}
    return {student: penalty for student, penalty in made.items() if penalty}


def handed_in(one: Submission) -> datetime:
    """When a submission was handed in, according to its files."""
    path = Path(one.path)
    if one.member and not one.packed:
        with contextlib.suppress(OSError, KeyError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return datetime(*archive.getinfo(one.member).date_time).astimezone()
    elif not one.member and path.parent.name == path.stem and (stamp := _stamp(path.with_name(TIMESTAMP))) is not None:
        return stamp
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _stamp(file: Path) -> datetime | None:
    """The time in nbgrader's file, such as ``2026-11-30 22:15:01.5 UTC``; None if it cannot be read."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > TIMESTAMP_BYTES:
        return None
    date, clock, zone, *_ = [*file.read_text(encoding="utf-8", errors="replace").split(), "", "", ""]
    try:
        moment = datetime.fromisoformat(f"{date} {clock}".strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone or "UTC"))
    except (ValueError, OSError, LookupError):
        return None
