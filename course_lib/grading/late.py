"""Late penalties: the time of submission, the due date, and a rule such as ``10%/day``.

The time is the one in the name that a learning system gave the file (Blackboard); else the one in ``timestamp.txt``,
which nbgrader writes when it collects, only in its folders ``STUDENT/EXERCISE``; else the time of the
entry in a learning system's zip file, in the time zone of this machine; else the time of the file. Times that a
student could have written are ignored. A time that cannot be read costs no points and is listed. If files were copied
without their times, do not use a penalty.
"""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from course_lib.grading.handed_in import Submission
from course_lib.grading.student_names import EXERCISE, from_learning_system

TIMESTAMP = "timestamp.txt"
TIMESTAMP_BYTES = 200
RULE = re.compile(r"^(\d+(?:\.\d+)?)%(?:/(hour|day))?$")
CLOCK = re.compile(r"^\s*\d[\d-]*[T ]\d")
OFFSET = re.compile(r"^[+-]\d\d:?\d\d$")
ISO = re.compile(r"^(\s*[\d-]+)T(\d)")
DAY = timedelta(days=1)
UNITS = {"hour": timedelta(hours=1), "day": DAY}
ZONES = {
    "HST": -10, "AKST": -9, "AKDT": -8, "PST": -8, "PDT": -7, "MST": -7, "MDT": -6, "CDT": -5, "EST": -5, "EDT": -4,
    "GMT": 0, "UTC": 0, "Z": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3,
    "JST": 9, "AEST": 10, "AEDT": 11,
}  # fmt: skip
"""Abbreviations of one meaning, in hours from UTC; CST and IST have several and are not guessed."""


@dataclass(frozen=True)
class Rule:
    """``share`` of the points is taken off for each ``unit`` begun after ``due``; once, if there is no unit.

    Args:
        zone: of the clock on which days are counted; the local one of this machine by default.
    """

    due: datetime
    share: float
    unit: timedelta | None = None
    zone: tzinfo | None = None

    def penalty(self, handed_in: datetime) -> float:
        """Fraction of the points that is taken off, in [0, 1]."""
        if handed_in <= self.due:
            return 0.0
        begun = 1 if self.unit is None else max(1, math.ceil(self._after(handed_in) / self.unit))
        return min(1.0, round(self.share * begun, 6))

    def _after(self, handed_in: datetime) -> timedelta:
        """The time after ``due``; days on the clock, so that a day at a change of the clock is one day too."""
        if self.unit != DAY:
            return handed_in - self.due
        clock, due = (moment.astimezone(self.zone).replace(tzinfo=None) for moment in (handed_in, self.due))
        return clock - due


def rule(due: str, penalty: str) -> Rule:
    """Read a rule such as ``rule("2026-11-30T23:59", "10%/day")``.

    Args:
        due: date and time in ISO form; the time zone of this machine unless it names another.
        penalty: ``N%``, ``N%/hour`` or ``N%/day``.

    Raises:
        ValueError: if one of them cannot be read.
    """
    try:
        moment = datetime.fromisoformat(due)
    except ValueError as error:
        raise ValueError(f"due must be a date and time such as 2026-11-30T23:59, got {due!r}") from error
    if not CLOCK.match(due):
        raise ValueError(f"due must have a time, such as {moment:%Y-%m-%d}T23:59, got {due!r}")
    found = RULE.match(penalty)
    if found is None or not 0 <= float(found[1]) <= 100:
        raise ValueError(f"late penalty must be like 20%, 1%/hour or 10%/day, got {penalty!r}")
    return Rule(moment.astimezone(), float(found[1]) / 100, UNITS.get(found[2] or ""), moment.tzinfo)


def penalties(found: Iterable[Submission], by: Rule) -> dict[tuple[str, str], float]:
    """(student, lesson) → fraction of the points that is taken off, for those who were late."""
    made = {one.identity: by.penalty(handed_in(one)) for one in found if not one.problem and not unreadable_time(one)}
    return {identity: penalty for identity, penalty in made.items() if penalty}


def unreadable_time(one: Submission) -> str:
    """Why the time of a submission is not known although it was recorded; empty if it is known."""
    file = _timestamp(one)
    if file is None or _stamp(file) is not None:
        return ""
    text = " ".join(_text(file)[:40].split())
    return f"the time in {TIMESTAMP} cannot be read ({text!r}), so no late penalty was applied"


def handed_in(one: Submission) -> datetime:
    """When a submission was handed in, according to its files."""
    if one.received is not None:
        return one.received.astimezone()
    path = Path(one.path)
    if one.members and not one.packed:
        with contextlib.suppress(OSError, KeyError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return datetime(*archive.getinfo(one.members[0]).date_time).astimezone()
    elif (file := _timestamp(one)) is not None and (stamp := _stamp(file)) is not None:
        return stamp
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _timestamp(one: Submission) -> Path | None:
    """nbgrader's file with the time of a submission, beside it in ``STUDENT/EXERCISE``; None if there is none."""
    file = Path(one.path).with_name(TIMESTAMP)
    if (one.members and not one.packed) or file.is_symlink() or not file.is_file():
        return None
    exercise, student = file.parent.name, file.parent.parent.name
    is_nbgraders = EXERCISE.match(exercise) and from_learning_system(student) is None
    return file if is_nbgraders else None


def _text(file: Path) -> str:
    if file.stat().st_size > TIMESTAMP_BYTES:
        return "a long text"
    return file.read_text(encoding="utf-8-sig", errors="replace")


def _stamp(file: Path) -> datetime | None:
    """The time in nbgrader's file, such as ``2026-11-30 22:15:01.5 UTC``; None if it cannot be read."""
    date, clock, zone, *_ = [*ISO.sub(r"\1 \2", _text(file)).split(), "", "", ""]
    try:
        moment = datetime.fromisoformat(f"{date} {clock}".strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=_zone(zone or "UTC"))
    except (ValueError, OSError, LookupError):
        return None


def _zone(name: str) -> tzinfo:
    if OFFSET.match(name):
        offset = datetime.strptime(name, "%z").tzinfo
        assert offset is not None
        return offset
    if name.upper() in ZONES:
        return timezone(timedelta(hours=ZONES[name.upper()]))
    return ZoneInfo(name)
