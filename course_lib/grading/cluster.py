"""Grade many submissions on Dask workers: a cluster on this machine, or one that is already there.

A submission's own failures are verdicts and come back as results. What is left to fail is the infrastructure; it is
tried again, and a submission that still cannot be graded is set aside with the reason, never dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from course_lib.grading import grade, sandbox
from course_lib.grading.intake import Submission

ATTEMPTS = 3
WINDOW_PER_THREAD = 2


def run(
    found: Sequence[Submission],
    settings: grade.Settings,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """A result for every submission, in their order.

    Args:
        scheduler: address of an existing Dask scheduler; a cluster on this machine otherwise.
        workers: processes of the cluster on this machine, one per core by default.

    Raises:
        SandboxError: before anything is run, if a worker lacks the sandbox level.
    """
    from tqdm.auto import tqdm

    results: dict[int, dict[str, Any]] = {}
    if len(found) <= 1 and scheduler is None:
        return [_alone(one, settings) for one in found]
    count = min(workers or os.cpu_count() or 1, len(found))
    with _client(scheduler, count) as client:
        client.run(sandbox.require, settings.level)
        if scheduler and progress:
            for address, (strongest, why) in client.run(sandbox.report).items():
                tqdm.write(f"{address}: grades at {settings.level}, could {strongest} ({why})")
        threads = sum(client.nthreads().values())
        with tqdm(total=len(found), desc="grade", unit="notebook", disable=not progress) as bar:
            for index, result in _completed(client, found, settings, WINDOW_PER_THREAD * threads):
                results[index] = result
                bar.update()
    return [results[index] for index in range(len(found))]


def _alone(one: Submission, settings: grade.Settings) -> dict[str, Any]:
    """One submission needs no cluster; the infrastructure has as many attempts as there."""
    failure: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            return grade.grade_one(one, settings)
        except Exception as error:
            failure = error
    return quarantined(one, failure, settings)


def _completed(
    client: Any, found: Sequence[Submission], settings: grade.Settings, window: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Results as they come, with at most ``window`` submissions in flight."""
    from distributed import as_completed

    waiting = iter(range(len(found)))
    attempts = dict.fromkeys(range(len(found)), 0)
    places: dict[str, int] = {}

    def submit(index: int) -> Any:
        attempts[index] += 1
        name = f"grade-{index}-{attempts[index]}"
        places[name] = index
        return client.submit(grade.grade_one, found[index], settings, key=name, pure=False, retries=0)

    flow = as_completed([submit(index) for index in itertools.islice(waiting, window)])
    for future in flow:
        index = places.pop(future.key)
        if future.status == "finished":
            yield index, future.result()
        elif attempts[index] < ATTEMPTS:
            flow.add(submit(index))
            continue
        else:
            yield index, quarantined(found[index], future.exception(), settings)
        if (following := next(waiting, None)) is not None:
            flow.add(submit(following))


def quarantined(one: Submission, error: BaseException | None, settings: grade.Settings) -> dict[str, Any]:
    """The result of a submission that the infrastructure failed to grade; it is not the learner's fault."""
    reason = f"could not be graded after {ATTEMPTS} attempts: {type(error).__name__}: {error}"[:500]
    return grade.refused(replace(one, problem=reason), reason, settings) | {"quarantined": True}


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0) as cluster,
        Client(cluster) as client,
    ):
        yield client
