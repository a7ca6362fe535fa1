"""A learner's progress: one JSON file that survives crashes, damage and concurrent notebooks.

Every change reads the file, applies itself and replaces the file atomically, under a lock. A damaged file is renamed
and kept. If nothing can be written, progress is kept in memory until the kernel stops.

``COURSE_PROGRESS`` names another file, or is ``memory`` for a run that must not write one.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from course_lib.core.atomic_write import write_atomically

Record = dict[str, Any]

VERSION = 1
LARGEST_FILE = 4_000_000
LOCK_SECONDS = 5.0
NOT_STARTED, IN_PROGRESS, DONE = "Not started", "In progress", "Done"
SECTIONS = ("lessons", "questions", "hints", "quizzes", "predictions", "last")

_in_memory: dict[str, Record] = {}


class ProgressWarning(UserWarning):
    """Progress could not be read or stored."""


def location() -> Path | None:
    """The progress file, or None if ``COURSE_PROGRESS`` is ``memory`` or this user has no home folder."""
    override = os.environ.get("COURSE_PROGRESS")
    if override == "memory":
        return None
    try:
        return Path(override).expanduser() if override else _default_file()
    except RuntimeError as error:  # no HOME, and a user id without a name
        _warn_once(f"progress has no file ({error}); it is kept in memory until the kernel stops")
        return None


def _default_file() -> Path:
    from platformdirs import user_data_path

    return (user_data_path("compression-course") / "progress.json").expanduser()


def read() -> Record:
    """Everything recorded so far; all sections are present, also for a new learner."""
    file = location()
    if str(file) in _in_memory:
        return json.loads(json.dumps(_in_memory[str(file)]))
    if file is None:
        return _empty()
    try:
        return _load(file)
    except OSError as error:
        return _keep_in_memory(file, "read", error)


def update(change: Callable[[Record], None]) -> Record:
    """Apply ``change`` to the record and store it; returns the new record."""
    file = location()
    if file is not None and str(file) not in _in_memory:
        try:
            return _update_file(file, change)
        except OSError as error:
            _keep_in_memory(file, "written", error)
    record = read()
    change(record)
    _in_memory[str(file)] = record
    return record


def record_lesson(number: str, status: str, file: str | None = None) -> None:
    """Set a lesson to ``In progress`` or ``Done``; ``Done`` is never set back."""

    def change(record: Record) -> None:
        entry = record["lessons"].setdefault(number, {})
        if entry.get("status") != DONE:
            entry["status"] = status
        entry["when"] = _now()
        if file:
            record["last"] = {"lesson": number, "file": file}

    update(change)


def record_points(question: str, points: int) -> None:
    """Record a right answer."""

    def change(record: Record) -> None:
        entry = record["questions"].setdefault(question, {})
        entry.update(points=points, out_of=points, tries=_count(entry, "tries") + 1)

    update(change)


def record_try(question: str, out_of: int) -> None:
    """Record a wrong answer; earlier points are kept."""

    def change(record: Record) -> None:
        entry = record["questions"].setdefault(question, {"points": 0, "out_of": out_of})
        entry["tries"] = _count(entry, "tries") + 1

    update(change)


def record_hint(question: str, opened: int) -> None:
    """Record that the first ``opened`` hints of a question are open."""
    update(lambda record: record["hints"].update({question: max(opened, _count(record["hints"], question))}))


def record_quiz(quiz: str, answers: dict[str, Any], right: int, out_of: int) -> None:
    """Record the latest answers of a quiz and the best score."""

    def change(record: Record) -> None:
        entry = record["quizzes"].setdefault(quiz, {})
        entry.update(answers=answers, right=right, out_of=out_of, best=max(right, _count(entry, "best")))

    update(change)


def record_prediction(key: str, guess: float) -> None:
    """Record a guess."""
    update(lambda record: record["predictions"].update({key: guess}))


def reset() -> None:
    """Delete all progress, with its file."""
    file = location()
    _in_memory.pop(str(file), None)
    if file is not None:
        file.unlink(missing_ok=True)


def _update_file(file: Path, change: Callable[[Record], None]) -> Record:
    file.parent.mkdir(parents=True, exist_ok=True)
    with _lock(file):
        record = _load(file)
        change(record)
        write_atomically(file, json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return record


def _lock(file: Path) -> AbstractContextManager[Any]:
    """A lock for writers; after ``LOCK_SECONDS`` without it, writing goes on unlocked."""
    from filelock import FileLock, Timeout

    try:
        return FileLock(f"{file}.lock").acquire(timeout=LOCK_SECONDS)
    except Timeout:
        return nullcontext()


def _load(file: Path) -> Record:
    try:
        if file.stat().st_size > LARGEST_FILE:
            return _set_aside(file, "is far too large")
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _empty()
    except (ValueError, RecursionError):
        return _set_aside(file, "is damaged")
    problem = _problem(record)
    return _set_aside(file, problem) if problem else _empty() | record


def _problem(record: Any) -> str | None:
    if not isinstance(record, dict):
        return "is damaged"
    if record.get("version") != VERSION:
        return f"has version {record.get('version')!r}, this course reads version {VERSION}"
    if not all(isinstance(record.get(section, {}), dict) for section in SECTIONS):
        return "is damaged"
    nested = [entry for name in ("lessons", "questions", "quizzes") for entry in record.get(name, {}).values()]
    numbers = [entry for name in ("hints", "predictions") for entry in record.get(name, {}).values()]
    sound = all(isinstance(entry, dict) for entry in nested) and all(isinstance(n, int | float) for n in numbers)
    return None if sound else "is damaged"


def _set_aside(file: Path, problem: str) -> Record:
    number = 1
    while (kept := file.with_name(f"{file.stem}.damaged-{number}{file.suffix}")).exists():
        number += 1
    file.rename(kept)
    _warn(f"{file} {problem}; it was kept as {kept.name}, and progress starts from zero")
    return _empty()


def _keep_in_memory(file: Path, verb: str, error: OSError) -> Record:
    """Keep the record in memory from now on, starting with the readable content of the file."""
    try:
        record = _load(file)
    except OSError:
        record = _empty()
    _in_memory[str(file)] = record
    reason = error.strerror or type(error).__name__
    _warn(f"progress cannot be {verb} at {file} ({reason}); it is kept in memory until the kernel stops")
    return record


def _empty() -> Record:
    return {"version": VERSION, **{section: {} for section in SECTIONS}}


def _count(entry: Record, key: str) -> int:
    value = entry.get(key, 0)
    return value if isinstance(value, int) else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _warn_once(message: str) -> None:
    _warn(message)


def _warn(message: str) -> None:
    warnings.warn(message, ProgressWarning, stacklevel=4)
