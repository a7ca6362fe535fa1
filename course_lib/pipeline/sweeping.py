"""Sweeps: many pipelines on Dask workers of this machine or of a cluster; a failed or killed one costs only itself."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from tqdm.auto import tqdm

from course_lib import assets, profiling, report
from course_lib.core import extras
from course_lib.core.validation import check_choice
from course_lib.data import Splits
from course_lib.pipeline.cache import data_digest, file_digest, key_of, original_file
from course_lib.pipeline.records import append_record, provenance, read_records, set_threads
from course_lib.pipeline.running import model_of, run_steps, splits_of
from course_lib.pipeline.specification import Pipeline

ATTEMPTS = 3


@dataclass(frozen=True)
class Task:
    """One pipeline of a sweep, as it is sent to a worker.

    Args:
        original: file of the model that the steps begin with.
        splits: None where the worker loads the data that the pipeline names.
        cache: folder that all workers share.
        threads: of torch in the worker; None leaves them as they are.
    """

    name: str
    pipeline: Pipeline
    original: Path
    splits: Splits | None
    cache: Path
    on: str
    key: str
    threads: int | None

    def record(self, status: str, seconds: float, threads: int, **facts: Any) -> dict[str, Any]:
        """The line of the results file."""
        return {
            "name": self.name, "status": status, "key": self.key, "pipeline": self.pipeline.to_dict(), "on": self.on,
            "original": self.original.name, **facts, "provenance": provenance(seconds, threads),
        }  # fmt: skip


def perform(task: Task) -> dict[str, Any]:
    """Run a pipeline and measure its last file beside the original; an error becomes a record of its own."""
    start, threads = time.perf_counter(), set_threads(task.threads)
    try:
        splits = task.splits or splits_of(task.pipeline)
        steps = list(run_steps(task.pipeline, task.original, splits, task.cache))
        file = steps[-1].file
        compared = report.compare(
            task.original, file, on=getattr(splits, task.on), names=["original", task.name], latency=False,
            memory=False, progress=False,
        )  # fmt: skip
        facts = {"row": compared.rows[1].to_dict(), "file": str(file), "sha256": file_digest(file),
                 "step_seconds": [one.seconds for one in steps], "reused": [one.reused for one in steps]}  # fmt: skip
    except Exception as error:
        where = traceback.format_exc(limit=-3)
        seconds = time.perf_counter() - start
        return task.record("failed", seconds, threads, error=f"{type(error).__name__}: {error}", traceback=where)
    return task.record("done", time.perf_counter() - start, threads, **facts)


def sweep(
    pipelines: Mapping[str, Pipeline],
    results: str | Path,
    *,
    model: nn.Module | str | Path | None = None,
    splits: Splits | None = None,
    cache: str | Path | None = None,
    on: str = "validation",
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int | None = 1,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Run pipelines on Dask workers; one record for each, in their order, which is also appended to ``results``.

    A pipeline that ``results`` holds already, with the same steps, model, data and version, is not run again, unless it
    failed.

    Args:
        pipelines: name → pipeline; see ``load_sweep``.
        results: file of JSON lines; several sweeps may write to it at once.
        on: split of the figures; never test, because a sweep is there to choose.
        scheduler: address of an existing Dask scheduler; processes on this machine otherwise. Its workers need the
            course and the folders of ``cache`` and of the model.
        workers: processes on this machine; one per core by default.
        threads: of torch in each worker.

    Raises:
        ExtraMissing: if the extra [classroom] is not installed.
        PipelineError: if model or data are missing.
    """
    check_choice("on", on, ("train", "validation"))
    extras.check_installed("classroom")
    folder = (Path(cache) if cache is not None else assets.cache_folder() / "pipeline").resolve()
    tasks = [_task(name, one, model, splits, folder, on, threads) for name, one in pipelines.items()]
    finished = {one["key"]: one for one in read_records(results) if one.get("status") == "done"}
    waiting = [task for task in tasks if task.key not in finished]
    with tqdm(total=len(waiting), desc="sweep", unit="pipeline", disable=not progress) as bar:
        for record in _on_workers(waiting, scheduler, workers) if waiting else ():
            append_record(results, record)
            finished[record["key"]] = record
            bar.update()
    return [finished[task.key] for task in tasks]


def _task(
    name: str, pipeline: Pipeline, model: Any, splits: Splits | None, folder: Path, on: str, threads: int | None
) -> Task:
    original = original_file(model_of(pipeline, model), folder).resolve()
    examples = data_digest(splits or splits_of(pipeline))
    steps = [[step.name, arguments] for step, arguments in pipeline.complete()]
    key = key_of(original=file_digest(original), data=examples, steps=steps, seed=pipeline.seed, on=on)
    return Task(name, pipeline, original, splits, folder, on, key, threads)


def _on_workers(tasks: list[Task], scheduler: str | None, workers: int | None) -> Iterator[dict[str, Any]]:
    """The record of each task as it is finished, with as many tasks in flight as there are threads.

    A task whose worker dies is tried again; others are not affected, since none waits on the same worker.
    """
    from distributed import as_completed

    attempts = dict.fromkeys(range(len(tasks)), 0)
    indices: dict[str, int] = {}
    with _client(scheduler, min(workers or profiling.machine().cores, len(tasks))) as client:

        def submit(index: int) -> Any:
            attempts[index] += 1
            key = f"pipeline-{tasks[index].key}-{attempts[index]}"
            indices[key] = index
            return client.submit(perform, tasks[index], key=key, pure=False, retries=0)

        waiting = iter(range(len(tasks)))
        window = sum(client.nthreads().values())
        flow = as_completed([submit(index) for index in itertools.islice(waiting, window)])
        for future in flow:
            index = indices.pop(future.key)
            if future.status == "finished":
                yield future.result()
            elif attempts[index] < ATTEMPTS:
                flow.add(submit(index))
                continue
            else:
                error = future.exception()
                yield tasks[index].record("failed", 0.0, 0, error=f"{type(error).__name__}: {error}"[:500])
            if (following := next(waiting, None)) is not None:
                flow.add(submit(following))


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client
