"""Grade many submissions, in a run that can be stopped and resumed: on Dask workers of this machine or of a cluster.

A result file appears complete or not at all, and its name is a hash of everything that decides the result; so a
result that exists is not made again. Failures of a submission are verdicts and come back as results. If the
infrastructure fails, a submission is tried again; if it still cannot be graded, it is set aside with the reason.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from course_lib.grading import fork_server, intake, probes, results, sandbox, submission, templates, trial
from course_lib.grading.grade import find_assignment, grade_one
from course_lib.grading.handed_in import Submission
from course_lib.grading.results import GradedSubmission
from course_lib.grading.settings import Settings, result_key

ATTEMPTS = 3
WINDOW_PER_THREAD = 2


def one_by_one(found: Sequence[Submission], settings: Settings) -> list[GradedSubmission]:
    """Grade submissions in this process, one after the other."""
    return [grade_one(one, settings) for one in found]


def grade(
    paths: Iterable[str | Path],
    settings: Settings,
    *,
    run: Callable[[Sequence[Submission], Settings], list[GradedSubmission]] = one_by_one,
) -> list[GradedSubmission]:
    """Results of all submissions below ``paths``; see ``grade_found``."""
    settings.require_sandbox()
    return grade_found(intake.collect(paths, settings.limits.notebook_bytes), settings, run=run)


def grade_found(
    found: Sequence[Submission],
    settings: Settings,
    *,
    run: Callable[[Sequence[Submission], Settings], list[GradedSubmission]] = one_by_one,
    progress: bool = False,
) -> list[GradedSubmission]:
    """A result for each submission, in their order, with its lesson and the files that were not graded.

    Args:
        run: grades the submissions; ``on_workers`` uses several processes.

    Raises:
        SandboxError: before anything is run, if the sandbox level is not available.
        GraderFailed: before anybody is graded, if a solution does not get full marks in this sandbox.
        RuntimeError: if there is not exactly one result for every submission.
    """
    settings.require_sandbox()
    _prepare(found, settings, progress=progress)
    graded = run(found, settings)
    if [result.student for result in graded] != [one.student for one in found]:
        raise RuntimeError(f"{len(found)} submissions, but {len(graded)} results that belong to them")
    return [
        replace(result, lesson=one.lesson or result.assignment[:2], others=one.others)
        for one, result in zip(found, graded, strict=True)
    ]


def on_workers(
    found: Sequence[Submission],
    settings: Settings,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> list[GradedSubmission]:
    """A result for every submission, in their order; one alone is graded in this process.

    Args:
        scheduler: address of an existing Dask scheduler; a cluster on this machine otherwise.
        workers: processes of the cluster on this machine, one per core by default.

    Raises:
        SandboxError: before anything is run, if a worker lacks the sandbox level.
    """
    from tqdm.auto import tqdm

    graded: dict[int, GradedSubmission] = {}
    if len(found) <= 1 and scheduler is None:
        return [_with_attempts(one, settings) for one in found]
    templates.close_all()  # this process only waits from here on
    fork_server.close_all()
    count = min(workers or os.cpu_count() or 1, len(found))
    with _client(scheduler, count) as client:
        client.run(sandbox.require, settings.level)
        if scheduler and progress:
            for address, (strongest, why) in client.run(sandbox.report).items():
                tqdm.write(f"{address}: grades at {settings.level}, could {strongest} ({why})")
        if scheduler:
            client.run(_try_solutions, settings, _to_grade(found, settings))
        threads = sum(client.nthreads().values())
        with tqdm(total=len(found), desc="grade", unit="notebook", disable=not progress) as bar:
            for index, result in _completed(client, found, settings, WINDOW_PER_THREAD * threads):
                graded[index] = result
                bar.update()
    return [graded[index] for index in range(len(found))]


def _prepare(found: Sequence[Submission], settings: Settings, *, progress: bool) -> None:
    """Make secret and references, and grade the solutions, before the first submission is run."""
    Path(settings.out, "results").mkdir(parents=True, exist_ok=True)
    probes.secret(Path(settings.state))
    _try_solutions(settings, _to_grade(found, settings), progress=progress)


def _to_grade(found: Sequence[Submission], settings: Settings) -> list[str]:
    """Lessons of the submissions that have no stored result."""
    lessons = set()
    for one in found:
        with contextlib.suppress(submission.Refused):
            content = one.read(settings.limits.notebook_bytes)
            submission.parse(content, settings.limits.notebook_bytes)
            assignment = find_assignment(settings.solutions, one.lesson)
            if results.read(settings.result_file(result_key(content, one.student, assignment, settings))) is None:
                lessons.add(assignment.lesson)
    return sorted(lessons)


def _try_solutions(settings: Settings, lessons: Sequence[str], *, progress: bool = False) -> None:
    from tqdm.auto import tqdm

    for lesson in tqdm(lessons, desc="prepare", unit="exercise", disable=not (progress and lessons)):
        trial.require_full_marks(find_assignment(settings.solutions, lesson), settings)


def _with_attempts(one: Submission, settings: Settings) -> GradedSubmission:
    failure: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            return grade_one(one, settings)
        except Exception as error:
            failure = error
    return _set_aside(one, failure, settings)


def _completed(
    client: Any, found: Sequence[Submission], settings: Settings, window: int
) -> Iterator[tuple[int, GradedSubmission]]:
    """Index and result of each submission as it is graded, with at most ``window`` submissions in flight."""
    from distributed import as_completed

    waiting = iter(range(len(found)))
    attempts = dict.fromkeys(range(len(found)), 0)
    indices: dict[str, int] = {}

    def submit(index: int) -> Any:
        attempts[index] += 1
        name = f"grade-{index}-{attempts[index]}"
        indices[name] = index
        return client.submit(grade_one, found[index], settings, key=name, pure=False, retries=0)

    flow = as_completed([submit(index) for index in itertools.islice(waiting, window)])
    for future in flow:
        index = indices.pop(future.key)
        if future.status == "finished":
            yield index, future.result()
        elif attempts[index] < ATTEMPTS:
            flow.add(submit(index))
            continue
        else:
            yield index, _set_aside(found[index], future.exception(), settings)
        if (following := next(waiting, None)) is not None:
            flow.add(submit(following))


def _set_aside(one: Submission, error: BaseException | None, settings: Settings) -> GradedSubmission:
    """The result of a submission that the infrastructure failed to grade."""
    reason = f"could not be graded after {ATTEMPTS} attempts: {type(error).__name__}: {error}"[:500]
    return results.refused(one.student, reason, settings.level, set_aside=True)


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
