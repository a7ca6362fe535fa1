"""Grade a class: from submissions to gradebook, tables, feedback pages and lists for the instructor to look at."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from course_lib.core.atomic_write import write_atomically
from course_lib.core.validation import check_choice
from course_lib.grading import batch, feedback, gradebook, intake, late, sandbox, similarity
from course_lib.grading.building import SOLUTIONS
from course_lib.grading.results import GradedSubmission
from course_lib.grading.settings import Settings
from course_lib.grading.shortcut_detection import OnFlag
from course_lib.learning import questions

STATE_VARIABLE = "COURSE_GRADING_STATE"
COLUMNS = (
    "student", "assignment", "points", "max_points", "late_penalty", "counts", "sandbox", "problem", "feedback",
)  # fmt: skip


@dataclass(frozen=True)
class ClassReport:
    """All results of a class, and the folder with the files."""

    results: list[GradedSubmission]
    out: Path

    @property
    def set_aside(self) -> list[GradedSubmission]:
        """Submissions that could not be graded because the infrastructure failed."""
        return [result for result in self.results if result.set_aside]

    def __str__(self) -> str:
        graded = [result for result in self.results if not result.problem]
        lines = [f"{len(self.results)} submissions, {len(graded)} graded, results in {self.out}"]
        for result in self.results:
            points = f"{feedback.total(result):g}/{result.max_points:g}" if not result.problem else "-"
            lines.append(f"  {feedback.clean(result.student, 40):<40} {points:>7}  {feedback.clean(result.problem)}")
        return "\n".join(line.rstrip() for line in lines)


def grade_class(
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    level: str = sandbox.AUTO,
    allow_unsandboxed: bool = False,
    gradebook_url: str | None = None,
    late_rule: late.Rule | None = None,
    on_flag: str = "report",
    solutions: str | Path = SOLUTIONS,
    limits: sandbox.Limits | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> ClassReport:
    """Grade everything below ``paths`` and write ``out``.

    Args:
        level: sandbox level, the strongest that works by default; ``"process"`` gives no protection and needs
            ``allow_unsandboxed``.
        late_rule: what late submissions lose, see ``course_lib.grading.late``.
        on_flag: ``"report"`` or ``"zero"``, for answers that take a shortcut (``OnFlag``).

    Raises:
        SandboxError: if the level is not available, or not allowed; nothing was run.
        ValueError: if ``on_flag`` is neither of the two; nothing was run.
    """
    rule = OnFlag(check_choice("on_flag", on_flag, [one.value for one in OnFlag]))
    level = sandbox.choose(level, allow_unsandboxed=allow_unsandboxed)
    folder = Path(out).resolve()
    settings = Settings(
        str(folder), str(state_folder()), str(Path(solutions).resolve()), level, limits or sandbox.Limits()
    )
    run = partial(batch.on_workers, scheduler=scheduler, workers=workers, progress=progress)
    found = intake.collect(paths, settings.limits.notebook_bytes)
    results = [result.with_rule(rule) for result in batch.grade_found(found, settings, run=run, progress=progress)]
    taken_off = late.penalties(found, late_rule) if late_rule else {}
    url = gradebook_url or gradebook.default_url(folder)
    gradebook.record(results, url, taken_off)
    write(results, folder, taken_off, final_scores(results, url))
    return ClassReport(results, folder)


def final_scores(results: Sequence[GradedSubmission], url: str) -> dict[tuple[str, str], float]:
    """Student and assignment → the score in the gradebook, where scores set by hand take precedence."""
    scores = {name: gradebook.scores(url, name) for name in {result.assignment for result in results} if name}
    return {
        (result.student, name): scores[name][gradebook.student_id(result.student)]
        for result in results
        if (name := result.assignment)
    }


def state_folder() -> Path:
    """The grader's private folder with secret and references; ``COURSE_GRADING_STATE`` overrides it."""
    if override := os.environ.get(STATE_VARIABLE):
        return Path(override)
    from platformdirs import user_data_path

    return user_data_path("compression-course") / "grading"


def write(
    results: Sequence[GradedSubmission],
    out: Path,
    late: Mapping[str, float],
    scores: Mapping[tuple[str, str], float] | None = None,
) -> None:
    """The tables (``*.csv``), ``results.json`` with all records, and a page and a record per student.

    Args:
        late: student → fraction of the points that is taken off.
        scores: (student, assignment) → the final score, if that is not the automatic one.
    """
    titles = _titles(results)
    pages = out / "feedback"
    pages.mkdir(parents=True, exist_ok=True)
    rows, records = [], []
    for result in results:
        penalty, stem = late.get(result.student, 0.0), _file_name(result)
        (pages / f"{stem}.html").write_text(feedback.page(result, titles, penalty), encoding="utf-8")
        record = feedback.gradescope(result, titles, penalty)
        (pages / f"{stem}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        records.append({"student": feedback.clean(result.student), "assignment": result.assignment, **record})
        points = feedback.total(result, penalty)
        score = (scores or {}).get((result.student, result.assignment), points)
        rows.append([result.student, result.assignment, points, result.max_points, penalty, score, result.level,
                     result.problem, f"{stem}.html"])  # fmt: skip
    flags = [[result.student, one.question, flag.text] for result in results for one in result.questions
             for flag in one.flags]  # fmt: skip
    similar = [list(asdict(pair).values()) for pair in similarity.report(results)]
    _write_table(out / "grades.csv", COLUMNS, rows)
    _write_table(out / "flags.csv", ["student", "question", "flag"], flags)
    _write_table(out / "similar.csv", ["question", "first", "second", "similarity"], similar)
    write_atomically(out / "results.json", json.dumps(records, indent=1) + "\n")


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([feedback.cell(value) if isinstance(value, str) else value for value in row] for row in rows)
    write_atomically(path, text.getvalue())


def _file_name(result: GradedSubmission) -> str:
    """A file name that a student cannot choose: letters of the name, and a hash of all of it."""
    letters = "".join(one for one in feedback.clean(result.student, 40) if one.isascii() and one.isalnum())
    digest = hashlib.sha256(f"{result.student}\0{result.assignment}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{letters or 'student'}-{digest[:10]}"


def _titles(results: Sequence[GradedSubmission]) -> dict[str, str]:
    lessons = {one.question[:2] for result in results for one in result.questions}
    return {id: one["title"] for lesson in sorted(lessons) for id, one in questions.described(lesson).items()}
