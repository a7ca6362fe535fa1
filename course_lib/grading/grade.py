"""Grade submissions: one pure function for one of them, and a run over many that can be stopped and resumed.

The key of a result is a hash of all that decides it, and a result file appears whole or not at all; so a result
that is there need not be made again, and the same submission has the same points wherever it is graded.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from course_lib.core.atomic_write import write_atomically
from course_lib.grading import building, intake, probes, sandbox, shortcut_detection, submission, verdict
from course_lib.grading.assignment import Assignment

SCHEMA = 1
RETRIES = 2
MODULES = (
    "assignment", "bubblewrap", "cell_report", "cells", "cgroups", "containers", "grade", "intake", "nbval_guard",
    "nbval_run", "policy", "probe_runtime", "probes", "provisioner", "room", "sandbox", "sandbox_kernel", "shake",
    "submission", "verdict", "warm",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a run of the grader is told.

    Args:
        out: folder of the results.
        state: the grader's private folder, with the secret and the references.
        level: sandbox level.
        solutions: folder of the solution notebooks.
        pool: how many seeds there are per assignment.
    """

    out: str
    state: str
    solutions: str = str(building.SOLUTIONS)
    level: str = "bwrap"
    limits: sandbox.Limits = field(default_factory=sandbox.Limits)
    pool: int = probes.POOL


def grade_one(one: intake.Submission, settings: Settings) -> dict[str, Any]:
    """The result of one submission, as JSON-able values; written to ``out/results`` under its key.

    A submission that cannot be graded has a result too, without points and with the reason.

    Raises:
        SandboxError: if the sandbox level is not available.
        RuntimeError: if the references cannot be made.
    """
    try:
        content = one.read()
        cells = submission.parse(content)
        lesson = submission.lesson(cells)
        assignment = find_assignment(settings.solutions, lesson or "")
        if assignment is None:
            raise submission.Refused("no answer cell of an exercise was found in it")
    except submission.Refused as problem:
        return refused(one, str(problem), settings)
    key = result_key(content, one.student, assignment, settings)
    file = Path(settings.out) / "results" / f"{key}.json"
    if (known := read_result(file)) is not None:
        return known
    _require_sandbox(settings)
    result = _graded(one, key, cells, assignment, settings)
    write_atomically(file, json.dumps(result, indent=1))
    return result


def grade(
    paths: Iterable[str | Path],
    settings: Settings,
    *,
    run: Callable[[Sequence[intake.Submission], Settings], list[dict[str, Any]]] | None = None,
) -> list[dict[str, Any]]:
    """Results of all submissions below ``paths``, in the order of the students' names.

    Args:
        run: how many submissions are graded; one after the other by default, see ``course_lib.grading.cluster``.

    Raises:
        SandboxError: before anything is run, if the sandbox level is not available.
        RuntimeError: if there is not exactly one result for every submission.
    """
    _require_sandbox(settings)
    found = intake.collect(paths)
    prepare(found, settings)
    results = (run or _one_by_one)(found, settings)
    if [result["student"] for result in results] != [one.student for one in found]:
        raise RuntimeError(f"{len(found)} submissions, but {len(results)} results that belong to them")
    return results


def _require_sandbox(settings: Settings) -> None:
    """The level works here, and shows none of the folders that the submissions must not see."""
    sandbox.require(settings.level)
    sandbox.require_hidden(settings.level, out=settings.out, state=settings.state, solutions=settings.solutions)


def prepare(found: Sequence[intake.Submission], settings: Settings) -> None:
    """Make secret and references before the first submission is run."""
    Path(settings.out, "results").mkdir(parents=True, exist_ok=True)
    key = probes.secret(Path(settings.state))
    for lesson in sorted({lesson for one in found if (lesson := _lesson(one))}):
        if assignment := find_assignment(settings.solutions, lesson):
            probes.references(assignment, key, Path(settings.state), settings.pool)


def result_key(content: bytes, student: str, assignment: Assignment, settings: Settings) -> str:
    """sha256 of submission, grader, exercise, seed and the settings that can change a verdict."""
    key = probes.secret(Path(settings.state))
    place = probes.place_in_pool(key, assignment.name, student, settings.pool)
    parts = [
        hashlib.sha256(content).hexdigest(), _grader_digest(), assignment.digest, student, str(place),
        hashlib.sha256(key).hexdigest(), settings.level, json.dumps(asdict(settings.limits)), str(settings.pool),
    ]  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def read_result(file: Path) -> dict[str, Any] | None:
    """A result that was written before; None if there is none or it is damaged."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("schema") == SCHEMA else None


def _graded(
    one: intake.Submission, key: str, cells: list[Any], assignment: Assignment, settings: Settings
) -> dict[str, Any]:
    started = time.monotonic()
    secret, state = probes.secret(Path(settings.state)), Path(settings.state)
    pool = probes.references(assignment, secret, state, settings.pool)
    references = pool[probes.place_in_pool(secret, assignment.name, one.student, settings.pool)]
    taken = submission.extract(cells, assignment.questions)
    with tempfile.TemporaryDirectory(prefix="course-library-") as folder:
        os.chmod(folder, 0o755)
        files = assignment.stage(Path(folder))
        verdicts = verdict.decide(
            assignment, taken.answers, references, files, level=settings.level, limits=settings.limits
        )
    questions = [_question(id, assignment, taken, verdicts) for id in assignment.questions]
    return {
        "schema": SCHEMA, "key": key, "student": one.student, "assignment": assignment.name, "problem": "",
        "level": settings.level, "questions": questions, "max_points": sum(entry["max_points"] for entry in questions),
        "answers": taken.answers, "seconds": round(time.monotonic() - started, 2),
    }  # fmt: skip


def _question(
    id: str, assignment: Assignment, taken: submission.Extracted, verdicts: dict[str, verdict.Verdict]
) -> dict[str, Any]:
    points = assignment.questions[id].points
    found = verdicts.get(id) or verdict.Verdict("not accepted", taken.findings.get(id, ""))
    return {
        "question": id, "points": points if found.passed else 0.0, "max_points": points, "status": found.status,
        "message": found.message, "flags": shortcut_detection.flags(taken.answers.get(id, "")),
    }  # fmt: skip


def refused(one: intake.Submission, problem: str, settings: Settings) -> dict[str, Any]:
    """The result of a submission that is not run, with the reason."""
    key = hashlib.sha256(f"{one.student}\0{problem}".encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "schema": SCHEMA, "key": key, "student": one.student, "assignment": "", "problem": problem,
        "level": settings.level, "questions": [], "max_points": 0.0, "answers": {}, "seconds": 0.0,
    }  # fmt: skip


def _one_by_one(found: Sequence[intake.Submission], settings: Settings) -> list[dict[str, Any]]:
    return [grade_one(one, settings) for one in found]


def _lesson(one: intake.Submission) -> str | None:
    try:
        return submission.lesson(submission.parse(one.read()))
    except submission.Refused:
        return None


@lru_cache(maxsize=64)
def find_assignment(solutions: str, lesson: str) -> Assignment | None:
    """The assignment of a lesson, read once per process; None if there is no ``NN_*.ipynb`` with its questions."""
    made = (Assignment(path) for path in sorted(Path(solutions).glob(f"{lesson}_*.ipynb")) if lesson)
    return next((assignment for assignment in made if assignment.lesson == lesson), None)


@lru_cache(maxsize=1)
def _grader_digest() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"\0".join((folder / f"{name}.py").read_bytes() for name in MODULES)).hexdigest()
