"""Grade a class of 60 as it comes out of three learning systems, with the odd files that students hand in.

nbgrader's tree, a Moodle zip and a Canvas zip; graded under umask 077, in a time zone with daylight saving time, into
a gradebook of last year whose exercise had other cells. Every student must get a line with the right points or, where
nothing can be graded, with a reason and what to do; the exit code must be 0.

    python benchmarks/class_layouts.py --json FILE
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import Results, parser

from course_lib.grading import building, cells, gradebook
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission

LESSON = "01"
SEED = 20
STUDENTS = 60
ZONE = "Europe/Berlin"
UMASK = 0o077
LAYOUTS = ("nbgrader", "Moodle", "Canvas")
FULL = 20.0

Files = dict[str, bytes]


@dataclass(frozen=True)
class Exercise:
    """The texts that students hand in, and the points of half the answers."""

    name: str
    right: bytes
    half: bytes
    empty: bytes
    half_points: float


def exercise() -> Exercise:
    """The exercise of the class, from its solution."""
    (source,) = building.SOLUTIONS.glob(f"{LESSON}_*.ipynb")
    solution = cells.read(source)
    places = list(cells.questions(solution).values())
    half = building.exercise(solution)
    for place in places[: len(places) // 2]:
        half.cells[place.answer].source = solution.cells[place.answer].source
    points = sum(place.points for place in places[: len(places) // 2])
    text = building.exercise_text(solution).encode()
    return Exercise(source.stem, source.read_bytes(), json.dumps(half).encode(), text, points)


@dataclass(frozen=True)
class Odd:
    """What one kind of student hands in: files by name, and the points, or a part of the reason for none."""

    files: Callable[[Exercise], Files]
    points: float | None = FULL
    reason: str = ""


def _bare(text: bytes) -> bytes:
    """A notebook as other programs write it: a byte order mark, code cells without outputs and execution count."""
    content = json.loads(text)
    for cell in content["cells"]:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    return b"\xef\xbb\xbf" + json.dumps(content).encode()


def _large(text: bytes) -> bytes:
    """A notebook with six megabytes of stored output."""
    content = json.loads(text)
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 6_000_000}]
    return json.dumps(content).encode()


def zipped(files: Files) -> bytes:
    """A zip file with these files; a name that ends with ``/`` is a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 10, 24, 12, 0, 0)), content)
    return buffer.getvalue()


KINDS = {
    "upper case": Odd(lambda ex: {f"{ex.name}.IPYNB": ex.right}),
    "text file": Odd(lambda ex: {f"{ex.name}.ipynb.txt": ex.right}),
    "json file": Odd(lambda ex: {f"{ex.name}.ipynb.json": ex.right}),
    "zip": Odd(lambda ex: {"work.zip": zipped({"my work/01.ipynb": ex.right})}),
    "zip in zip": Odd(lambda ex: {"work.zip": zipped({"inner.zip": zipped({"01.ipynb": ex.right})})}),
    "Windows zip": Odd(lambda ex: {"work.zip": zipped({"work\\01: final.ipynb": ex.right})}),
    "two attempts": Odd(lambda ex: {f"{ex.name}.ipynb": ex.empty, f"{ex.name} (1).ipynb": ex.right}),
    "stray": Odd(lambda ex: {f"{ex.name}.ipynb": ex.right, "00_scratch.ipynb": b'{"nbformat": 4, "cells": []}'}),
    "hidden copy": Odd(lambda ex: {f"{ex.name}.ipynb": ex.right, f".virtual_documents/{ex.name}.ipynb": ex.empty}),
    "bare": Odd(lambda ex: {f"{ex.name}.ipynb": _bare(ex.right)}),
    "large": Odd(lambda ex: {f"{ex.name}.ipynb": _large(ex.right)}),
    "7z": Odd(lambda ex: {f"{ex.name}.7z": b"7z\xbc\xaf"}, None, "is not unpacked here"),
    "nothing": Odd(lambda ex: {}, None, "the folder is empty"),
    "pdf": Odd(lambda ex: {f"{ex.name}.pdf": b"%PDF"}, None, "no notebook was handed in"),
    "broken": Odd(lambda ex: {f"{ex.name}.ipynb": ex.right[:2000]}, None, "JSON cannot be read"),
    "half": Odd(lambda ex: {f"{ex.name}.ipynb": ex.half}, -1.0),
    "untouched": Odd(lambda ex: {f"{ex.name}.ipynb": ex.empty}, 0.0),
    "right": Odd(lambda ex: {f"{ex.name}.ipynb": ex.right}),
}  # fmt: skip
FLAT_LACKS = {"nothing", "hidden copy"}
"""What a system without folders cannot contain; these students hand in a right notebook there."""


@dataclass(frozen=True)
class Expected:
    """The line of one student: points, or None with a part of the reason."""

    kind: str
    points: float | None
    reason: str


def make(folder: Path, layout: str, count: int, made: Exercise) -> tuple[Path, dict[str, Expected]]:
    """Write what a class hands in; returns what to give to the grader, and the line of each student.

    Args:
        layout: one of ``LAYOUTS``.
        count: students.
    """
    rng = random.Random(f"{SEED}{layout}")
    kinds = [*KINDS][: min(count, len(KINDS))]
    kinds += rng.choices(["right", "half", "untouched"], k=count - len(kinds))
    rng.shuffle(kinds)
    files: Files = {}
    expected = {}
    for number, kind in enumerate(kinds):
        kind = "right" if layout == "Canvas" and kind in FLAT_LACKS else kind
        odd = KINDS[kind]
        name = f"Zoë Müller {number:02d}"
        student, own = _PLACED[layout](name, number, odd.files(made), made)
        files |= own
        points = made.half_points if odd.points == -1.0 else odd.points
        expected[student] = Expected(kind, points, odd.reason)
    return _write(folder, layout, files), expected


def _nbgrader(name: str, number: int, files: Files, made: Exercise) -> tuple[str, Files]:
    form = "NFD" if number % 2 else "NFC"
    home = f"{unicodedata.normalize(form, name)}/{made.name}"
    stamp = {f"{home}/timestamp.txt": b"2026-10-24 18:00:00 CEST"} if files else {}
    return name, {f"{home}/": b"", **stamp, **{f"{home}/{file}": content for file, content in files.items()}}


def _moodle(name: str, number: int, files: Files, made: Exercise) -> tuple[str, Files]:
    home = f"{name}_{4000 + number}_assignsubmission_file_"
    return f"{name}_{4000 + number}", {f"{home}/": b"", **{f"{home}/{file}": one for file, one in files.items()}}


def _canvas(name: str, number: int, files: Files, made: Exercise) -> tuple[str, Files]:
    who, late = f"muellerzoe{number:02d}", "_LATE" if number % 5 == 0 else ""
    uploads = enumerate(files.items(), start=90_000 + 10 * number)
    named = {f"{who}{late}_{4000 + number}_{upload}_{file}": one for upload, (file, one) in uploads}
    return f"{who}_{4000 + number}", named


_PLACED: dict[str, Callable[[str, int, Files, Exercise], tuple[str, Files]]] = {
    "nbgrader": _nbgrader, "Moodle": _moodle, "Canvas": _canvas,
}  # fmt: skip


def _write(folder: Path, layout: str, files: Files) -> Path:
    if layout != "nbgrader":
        export = folder / f"{layout}.zip"
        export.parent.mkdir(parents=True, exist_ok=True)
        export.write_bytes(zipped(files))
        return export
    for name, content in files.items():
        path = folder / "submitted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    return folder / "submitted"


def last_years_gradebook(out: Path, made: Exercise, student: str) -> str:
    """A gradebook in which the exercise had two cells, one of which it no longer has, and ``student`` was graded."""
    url = gradebook.default_url(out)
    questions = tuple(GradedQuestion(f"{LESSON}.{number}", 5.0, 5.0, Status.PASSED) for number in (1, 9))
    result = GradedSubmission(student, "bwrap", "k", made.name, questions=questions, lesson=LESSON)
    out.mkdir(parents=True, exist_ok=True)
    gradebook.record([result, replace(result, student="Last Year")], url)
    return url


def problems(out: Path, expected: dict[str, Expected], made: Exercise) -> list[str]:
    """What is wrong in the files of a graded class; empty if nothing is."""
    with (out / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    found = [f"{len(rows)} lines for {len(expected)} students"] if set(rows) != set(expected) else []
    recorded = gradebook.scores(gradebook.default_url(out), made.name)
    for student, want in expected.items():
        if (row := rows.get(student)) is None:
            found.append(f"{want.kind}: no line")
            continue
        page = json.loads((out / "feedback" / row["feedback"].replace(".html", ".json")).read_text(encoding="utf-8"))
        if want.points is None:
            if want.reason not in row["problem"] or "Hand in the .ipynb file" not in page["output"]:
                found.append(f"{want.kind}: {row['problem']!r}, told {page['output']!r}")
        elif (float(row["counts"]), page["score"], recorded.get(student)) != (want.points,) * 3:
            found.append(f"{want.kind}: {row['counts']}, {page['score']}, {recorded.get(student)}; {row['problem']}")
    return found


def measure(folder: Path, layout: str, count: int) -> dict[str, Any]:
    """Grade one class with the command; its lines, problems, exit code and seconds."""
    made = exercise()
    given, expected = make(folder, layout, count, made)
    out = folder / "out"
    last_years_gradebook(out, made, next(iter(expected)))
    started = time.monotonic()
    finished = subprocess.run(
        [sys.executable, "-m", "course_lib.cli", "grade", str(given), "--out", str(out),
         "--due", "2026-10-24T20:00", "--late-penalty", "10%/day"],
        env={**os.environ, "TZ": ZONE, "PYTHONPATH": str(building.ROOT), "COURSE_GRADING_STATE": str(folder / "state")},
        cwd=folder, capture_output=True, text=True, check=False, umask=UMASK,
    )  # fmt: skip
    wrong = problems(out, expected, made) if finished.returncode == 0 else [finished.stderr[-500:]]
    return {"layout": layout, "students": count, "lines": len(finished.stdout.splitlines()) - 1,
            "exit code": finished.returncode, "wrong": len(wrong), "first wrong": next(iter(wrong), ""),
            "warning": next((line for line in finished.stderr.splitlines() if "warning" in line.lower()), ""),
            "seconds": round(time.monotonic() - started, 1)}  # fmt: skip


def main() -> None:
    """Grade the class in each layout and print a table."""
    arguments = parser(__doc__, "18 students, one of each kind")
    chosen = arguments.parse_args()
    report = Results(__doc__, chosen)
    with tempfile.TemporaryDirectory(prefix="class-") as name:
        count = len(KINDS) if chosen.quick else STUDENTS
        rows = [measure(Path(name) / layout, layout, count) for layout in LAYOUTS]
    report.table("layouts", rows)
    report.save()


if __name__ == "__main__":
    main()
