"""The files of a class: tables, ``results.json``, and a feedback page and record per student.

All exercises and students that were graded into a folder stay in its tables: ``class.json`` keeps their results, and a
new run replaces only those of the same student and exercise.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_lib.core.atomic_write import write_atomically
from course_lib.grading import feedback, known_code, results, similarity
from course_lib.grading.building import SOLUTIONS
from course_lib.grading.results import GradedSubmission
from course_lib.learning import questions

KEPT = "class.json"
COLUMNS = (
    "student", "assignment", "points", "max_points", "late_penalty", "counts", "sandbox", "problem", "feedback",
    "not_graded",
)  # fmt: skip


def write(graded: Sequence[GradedSubmission], out: Path, solutions: Path = SOLUTIONS) -> None:
    """Write the pages of these results, and the tables of all results in the folder.

    Args:
        solutions: folder of the solution notebooks; what an answer shares with them is not called similar.
    """
    titles = _titles(graded)
    pages = out / "feedback"
    pages.mkdir(parents=True, exist_ok=True)
    for result in graded:
        stem = _file_name(result)
        write_atomically(pages / f"{stem}.html", feedback.page(result, titles))
        write_atomically(pages / f"{stem}.json", json.dumps(feedback.gradescope(result, titles), indent=1))
    everybody = with_earlier(graded, out)
    write_atomically(out / KEPT, json.dumps([results.to_dict(result) for result in everybody]))
    _write_tables(everybody, out, solutions)


def with_earlier(graded: Sequence[GradedSubmission], out: Path) -> list[GradedSubmission]:
    """These results and those of earlier runs into the same folder that they do not replace, in the order of names.

    A line without an exercise is replaced as soon as its student has another one.
    """
    replaced = {result.identity for result in graded} | {(result.student, "") for result in graded}
    kept = [one for one in _earlier(out) if one.identity not in replaced]
    return sorted([*kept, *graded], key=lambda result: result.identity)


def _earlier(out: Path) -> list[GradedSubmission]:
    try:
        stored = json.loads((out / KEPT).read_text(encoding="utf-8"))
        return [result for entry in stored if (result := results.from_dict(entry)) is not None]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _write_tables(everybody: Sequence[GradedSubmission], out: Path, solutions: Path) -> None:
    titles = _titles(everybody)
    records = [
        {"student": feedback.clean(result.student), "assignment": result.assignment,
         **feedback.gradescope(result, titles)}
        for result in everybody
    ]  # fmt: skip
    flags = [[result.student, one.question, flag.text] for result in everybody for one in result.questions
             for flag in one.flags]  # fmt: skip
    given = {question: code for lesson in _lessons(everybody)
             for question, code in known_code.given(lesson, solutions).items()}  # fmt: skip
    similar = [list(asdict(pair).values()) for pair in similarity.report(everybody, given, known_code.course())]
    _write_table(out / "grades.csv", COLUMNS, map(_row, everybody))
    _write_table(out / "flags.csv", ["student", "question", "flag"], flags)
    _write_table(out / "similar.csv", ["question", "first", "second", "similarity"], similar)
    write_atomically(out / "results.json", json.dumps(records, indent=1) + "\n")


def _row(result: GradedSubmission) -> list[Any]:
    return [
        result.student, result.assignment, feedback.total(result), result.max_points, result.late_penalty,
        result.counts, result.level, result.problem, f"{_file_name(result)}.html", "; ".join(result.others),
    ]  # fmt: skip


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([feedback.cell(value) if isinstance(value, str) else value for value in row] for row in rows)
    write_atomically(path, text.getvalue())


def _file_name(result: GradedSubmission) -> str:
    """A file name that a student cannot choose: letters of the name, and a hash of all of it."""
    letters = "".join(one for one in feedback.clean(result.student, 40) if one.isascii() and one.isalnum())
    identity = f"{result.student}\0{result.assignment or result.lesson}"
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{letters or 'student'}-{digest[:10]}"


def _titles(graded: Sequence[GradedSubmission]) -> dict[str, str]:
    return {id: one["title"] for lesson in _lessons(graded) for id, one in questions.described(lesson).items()}


def _lessons(graded: Sequence[GradedSubmission]) -> list[str]:
    return sorted({one.question[:2] for result in graded for one in result.questions})
