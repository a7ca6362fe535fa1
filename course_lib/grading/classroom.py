"""Grade a class: from submissions to gradebook, tables, feedback pages and lists for the instructor to look at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from course_lib.core.validation import check_choice
from course_lib.grading import batch, class_files, feedback, gradebook, intake, late, leftovers, sandbox
from course_lib.grading.building import SOLUTIONS
from course_lib.grading.handed_in import Submission
from course_lib.grading.results import GradedSubmission
from course_lib.grading.settings import Settings
from course_lib.grading.shortcut_detection import OnFlag

STATE_VARIABLE = "COURSE_GRADING_STATE"


@dataclass(frozen=True)
class ClassReport:
    """All results of a run, the folder with the files, and what the gradebook did not accept."""

    results: list[GradedSubmission]
    out: Path
    gradebook_problems: tuple[str, ...] = ()

    @property
    def set_aside(self) -> list[GradedSubmission]:
        """Submissions that could not be graded because the infrastructure failed."""
        return [result for result in self.results if result.set_aside]

    @property
    def ok(self) -> bool:
        """Everything was graded and recorded, whatever the points."""
        return not self.set_aside and not self.gradebook_problems

    def __str__(self) -> str:
        graded = [result for result in self.results if not result.problem]
        lines = [f"{len(self.results)} submissions, {len(graded)} graded, results in {self.out}"]
        for result in self.results:
            points = f"{result.counts:g}/{result.max_points:g}" if not result.problem else "-"
            told = " ".join(filter(None, [result.lesson, result.problem, *result.others]))
            lines.append(f"  {feedback.clean(result.student, 40):<40} {points:>7}  {feedback.clean(told)}")
        return "\n".join(line.rstrip() for line in [*lines, *self.gradebook_problems])


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
        level: sandbox level, the strongest that works by default; ``"process"`` needs ``allow_unsandboxed``.
        late_rule: what late submissions lose, see ``course_lib.grading.late``.
        on_flag: ``"report"`` or ``"zero"``, for answers that take a shortcut (``OnFlag``).

    Raises:
        SandboxError: if the level is not available, or not allowed; nothing was run.
        GraderFailed: if the solution of an exercise does not get full marks in the sandbox; nobody was graded.
        GradebookError: if the gradebook cannot be written to; nobody was graded.
        ValueError: if ``on_flag`` or ``workers`` is not allowed; nothing was run.
    """
    rule = OnFlag(check_choice("on_flag", on_flag, [one.value for one in OnFlag]))
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    level = sandbox.choose(level, allow_unsandboxed=allow_unsandboxed)
    folder = Path(out).resolve()
    settings = Settings(
        str(folder), str(state_folder()), str(Path(solutions).resolve()), level, limits or sandbox.Limits()
    )
    found = intake.collect(paths, settings.limits.notebook_bytes)
    url = gradebook_url or gradebook.default_url(folder)
    _prepare(settings, url)
    run = partial(batch.on_workers, scheduler=scheduler, workers=workers, progress=progress)
    graded = batch.grade_found(found, settings, run=run, progress=progress)
    ruled = [result.with_rule(rule) for result in _with_penalties(graded, found, late_rule)]
    recorded, results = _recorded(ruled, url)
    class_files.write(results, folder, Path(solutions))
    return ClassReport(results, folder, tuple(recorded.problems))


def state_folder() -> Path:
    """The grader's private folder with secret and references; ``COURSE_GRADING_STATE`` overrides it.

    Raises:
        ValueError: if this user has no folder for it.
    """
    if override := os.environ.get(STATE_VARIABLE):
        return Path(override)
    from platformdirs import user_data_path

    try:
        folder = user_data_path("compression-course") / "grading"
    except RuntimeError:  # older versions of platformdirs return a path with ~ instead
        folder = Path("~")
    if not folder.is_absolute():
        raise ValueError(f"this user has no home folder; set {STATE_VARIABLE} to a private folder")
    return folder


def _prepare(settings: Settings, url: str) -> None:
    """Check the sandbox and the gradebook, and make the folder of the results, before anybody is graded."""
    settings.require_sandbox()
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    leftovers.sweep(folder)
    gradebook.check(url)


def _with_penalties(
    results: Sequence[GradedSubmission], found: Sequence[Submission], rule: late.Rule | None
) -> list[GradedSubmission]:
    if rule is None:
        return list(results)
    taken_off = late.penalties(found, rule)
    return [
        replace(
            result, late_penalty=taken_off.get(one.identity, 0.0),
            others=(*result.others, *filter(None, [late.unreadable_time(one)])),
        )
        for one, result in zip(found, results, strict=True)
    ]  # fmt: skip


def _recorded(results: list[GradedSubmission], url: str) -> tuple[gradebook.Recorded, list[GradedSubmission]]:
    """What the gradebook accepted, and the results with the scores that were set by hand there."""
    try:
        recorded = gradebook.record(results, url)
    except Exception as error:  # tables and feedback do not depend on a database
        recorded = gradebook.Recorded(problems=[f"the gradebook was not written: {type(error).__name__}: {error}"])
    return recorded, [replace(one, manual=recorded.manual.get(one.identity, {})) for one in results]
