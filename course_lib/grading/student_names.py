"""Who handed in a file: the student in the names of folders, of learning systems' exports, and of files.

Only the part of a path that the instructor or the learning system chose names a student; what a student chose (a file
within her folder or zip file) never does.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

Parts = tuple[str, ...]

NOTEBOOK = re.compile(r"\.ipynb(?:\.(?:txt|json|download|part))?$", re.IGNORECASE)
EXERCISE = re.compile(r"^(\d\d)(?:[_ (-]|$)")
MOODLE = re.compile(r"^(?P<student>.+?)_assignsubmission_[a-z]+_?.*$")
CANVAS = re.compile(r"^(?P<name>.+?)(?:_LATE)?_(?P<user>\d+)_(?P<upload>\d+)_(?P<file>.+)$")
BLACKBOARD = re.compile(r"^(?P<head>.+?)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:[._].*)?$")
COPY = re.compile(r"\s*\((\d+)\)$|(?<=\w)-(\d+)$")
ATTEMPT = re.compile(r"^(?:attempt|version|try|submission|v)?[ _-]*\d+$", re.IGNORECASE)
WRAPPERS = {"submitted", "submissions", ".", "..", "/", ""}


@dataclass(frozen=True)
class Name:
    """A student, and the attempt as far as the name of the file tells it.

    Args:
        upload: number that a learning system counts up; 0 without one.
        time: when the learning system received it, on its local clock.
    """

    student: str
    upload: int = 0
    time: datetime | None = None


def plain(text: str) -> str:
    """A name in the Unicode form NFC, so that both ways to write an accent are one student."""
    return unicodedata.normalize("NFC", text).strip()


def is_notebook(name: str) -> bool:
    """Whether a file's name says that it is a notebook, also with a suffix that a browser or a system appended."""
    return NOTEBOOK.search(name) is not None


def stem(name: str) -> str:
    """The name of a file without its suffix, ``.ipynb.txt`` counting as one."""
    short = NOTEBOOK.sub("", name)
    return short if short != name else name.rpartition(".")[0] or name


def lesson_in(parts: Parts) -> str:
    """The lesson that a path names, such as ``"03"``, innermost part first; empty if there is none."""
    for part in reversed(parts):
        canvas = CANVAS.match(part)
        if found := EXERCISE.match(canvas["file"] if canvas else stem(part)):
            return found[1]
    return ""


def copy_number(name: str) -> int:
    """The number of a copy: 1 for ``"03 (1).ipynb"`` and for Canvas' ``"03-1.ipynb"``, 0 without one."""
    found = COPY.search(stem(name))
    return int(found[1] or found[2]) if found else 0


def from_learning_system(name: str) -> Name | None:
    """The student in a name that Moodle, Canvas or Blackboard made; None for other names.

    Canvas: ``doejane_LATE_USER_UPLOAD_FILE`` → ``doejane_USER``; Moodle: ``Jane Doe_ID_assignsubmission_file_FILE`` →
    ``Jane Doe_ID``; Blackboard: ``ASSIGNMENT_USER_attempt_TIME_FILE`` → ``USER``.
    """
    if found := MOODLE.match(name):
        return Name(plain(found["student"]))
    if found := BLACKBOARD.match(name):
        return Name(plain(found["head"].rpartition("_")[2]), time=_time(found["time"]))
    if found := CANVAS.match(name):
        return Name(plain(f"{found['name']}_{found['user']}"), upload=int(found["upload"]))
    return None


def students(root: str, entries: Sequence[Parts]) -> list[Name]:
    """The student of each entry below a folder or zip file.

    Args:
        root: name of the folder; that of the student if exercises lie directly in it.
        entries: parts of the paths below it; the last part is a file, or empty for a folder.
    """
    groups = set() if root in WRAPPERS else _groups(entries)
    tops = {stem(parts[-1]) for parts in entries if len(parts) == 1}
    names = [_name(root, parts, groups, tops) for parts in entries]
    return _apart(entries, names)


def _name(root: str, parts: Parts, groups: set[str], tops: set[str]) -> Name:
    while len(parts) > 1 and parts[0] in WRAPPERS:
        parts = parts[1:]
    if (known := from_learning_system(parts[0])) is not None:
        return known
    if len(parts) > 1 and parts[0] in groups:
        inner = _name(root, parts[1:], set(), set())
        lms = from_learning_system(parts[1]) is not None
        return inner if lms or len(groups) == 1 else replace(inner, student=f"{parts[0]}/{inner.student}")
    if len(parts) > 1 and EXERCISE.match(parts[0]):
        if len(parts) == 2 and (not parts[1] or parts[1].startswith("timestamp") or EXERCISE.match(stem(parts[1]))):
            return Name(plain(root))
        return _name(root, parts[1:], set(), set())
    if len(parts) > 1:
        return Name(plain(parts[0]))
    own = stem(parts[0])
    if not own or EXERCISE.match(own):
        return Name(plain(root))
    original = COPY.sub("", own)
    return Name(plain(original if original in tops else own))


def _groups(entries: Sequence[Parts]) -> set[str]:
    """Folders that hold several students' folders (sections of the class), or names of a learning system.

    Folders are people if their names are neither exercises nor attempts and most do not recur in other folders.
    Sections are assumed only if the whole class lies in such folders.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for parts in entries:
        if len(parts) > 1 and parts[1] and not parts[1].startswith("."):
            below[parts[0]].add(parts[1])
    if len(below) == 1 and all(from_learning_system(name) for name in next(iter(below.values()))):
        return set(below)
    inner: dict[str, set[str]] = defaultdict(set)
    for parts in entries:
        if len(parts) > 1 and is_notebook(parts[-1]):
            inner[parts[0]].add(parts[1] if len(parts) > 2 else "")
    often = Counter(name for names in inner.values() for name in names)
    least = 2 if len(inner) > 1 else 3
    are_people = [len(names) >= least and all(map(_is_person, names)) and 2 * sum(often[name] == 1 for name in names)
                  > len(names) for names in inner.values()]  # fmt: skip
    return set(inner) if are_people and all(are_people) else set()


def _is_person(folder: str) -> bool:
    return bool(folder) and not (EXERCISE.match(folder) or ATTEMPT.match(folder) or folder.startswith((".", "__")))


def _apart(entries: Sequence[Parts], names: list[Name]) -> list[Name]:
    """Blackboard users whose names only seem equal, because they contain ``_``, get the whole text before."""
    heads: dict[str, set[str]] = defaultdict(set)
    found = [next((one for part in parts[:2] if (one := BLACKBOARD.match(part))), None) for parts in entries]
    for name, one in zip(names, found, strict=True):
        if one:
            heads[name.student].add(one["head"])
    return [
        replace(name, student=plain(one["head"])) if one and len(heads[name.student]) > 1 else name
        for name, one in zip(names, found, strict=True)
    ]


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d-%H-%M-%S")
    except ValueError:
        return None
