"""Pipelines, measured: two recipes end to end, runs that are killed, and sweeps on one and two workers.

    python benchmarks/pipeline.py --quick              # a small network instead of the two models (≤ 3 minutes)
    python benchmarks/pipeline.py --only recipes       # ResNet18 and MiniLM, up to half an hour each
    python benchmarks/pipeline.py --only killed sweep

The recipes are the files in benchmarks/pipelines/; their arguments are first guesses from the tables of the single
techniques. Change them by what validation says, before this script reads test.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import psutil
from common import Part, Row

from course_lib import pipeline
from course_lib.pipeline.cache import file_digest

RECIPES = Path(__file__).parent / "pipelines"
GOALS = {"resnet18": (90, 0.99), "minilm": (20, 0.97)}
SMALL = pipeline.Pipeline(
    [{"fine_tune": {"epochs": 3, "examples": 2000, "batch_size": 64}}, {"quantize": {"method": "uniform", "c": 1e-3}},
     "code"], model="student_400", data="fashion_mnist",
)  # fmt: skip
KILLS, TASKS_KILLED = 5, 0.05


def plans(quick: bool) -> dict[str, pipeline.Pipeline]:
    """Name → recipe."""
    return {"small": SMALL} if quick else {name: pipeline.load(RECIPES / f"{name}.yaml") for name in GOALS}


def recipes(quick: bool) -> Iterator[Row]:
    """Each recipe from an empty cache to its file, and the file on test."""
    for name, plan in plans(quick).items():
        with tempfile.TemporaryDirectory() as folder:
            seconds, result = common.timed(
                pipeline.run, plan, cache=folder, on="test", latency=False, memory=False, progress=True
            )
        smaller, retained = GOALS.get(name, (None, None))
        row = result.comparison.rows[-1].to_dict()
        yield {
            "recipe": name, "stored_bytes": row["stored_bytes"], "ratio": row["ratio"], "goal_ratio": smaller,
            "retained": row["retained"], "retained_low": row["retained_low"], "retained_high": row["retained_high"],
            "goal_retained": retained, "minutes": sum(one.seconds for one in result.steps) / 60,
            "minutes_with_measuring": seconds / 60,
        }  # fmt: skip


def killed(quick: bool) -> Iterator[Row]:
    """Each recipe in a process that is killed at random moments, and then left to end."""
    generator = random.Random(0)
    for name, plan in plans(quick).items():
        with tempfile.TemporaryDirectory() as folder:
            straight, file = Path(folder, "straight.safetensors"), Path(folder, "killed.safetensors")
            whole, _ = common.timed(_finish, plan, Path(folder, "one"), straight)
            moments = [generator.uniform(0, 0.5 * whole) for _ in range(KILLS)]
            for moment in moments:
                process = subprocess.Popen(_command(plan, Path(folder, "two"), file))
                time.sleep(moment)
                process.send_signal(signal.SIGKILL)
                process.wait()
            _finish(plan, Path(folder, "two"), file)
            same = file_digest(straight) == file_digest(file)
        yield {"recipe": name, "seconds": whole, "killed_after": [round(one, 1) for one in moments], "same_file": same}


def _command(plan: pipeline.Pipeline, cache: Path, out: Path) -> list[str]:
    file = cache.with_suffix(".yaml")
    file.write_text(plan.to_yaml(), encoding="utf-8")
    return [sys.executable, "-m", "course_lib.cli", "pipeline", "run", str(file), "--cache", str(cache), "--out",
            str(out), "--no-latency"]  # fmt: skip


def _finish(plan: pipeline.Pipeline, cache: Path, out: Path) -> None:
    subprocess.run(_command(plan, cache, out), check=True)


def sweep_plans(quick: bool) -> dict[str, pipeline.Pipeline]:
    """The 24 pipelines of the sweep; six of them if quick."""
    found = pipeline.load_sweep(RECIPES / "sweep.yaml")
    return dict(list(found.items())[:: 4 if quick else 1])


def sweep(quick: bool) -> Iterator[Row]:
    """The sweep on one and on two workers, on a scheduler that was started by hand, and with killed workers."""
    plans, files = sweep_plans(quick), {}
    for name in ("1 worker", "2 workers", "scheduler", "5 % killed"):
        with tempfile.TemporaryDirectory() as folder:
            seconds, records, kills = _timed_sweep(name, plans, Path(folder))
        files[name] = [record.get("sha256") for record in records]
        yield {
            "run": name, "pipelines": len(plans), "seconds": seconds, "kills": kills,
            "results": sum(record["status"] == "done" for record in records),
            "same_files": files[name] == files["1 worker"],
        }  # fmt: skip


def _timed_sweep(name: str, plans: Any, folder: Path) -> tuple[float, list[Row], int]:
    options: dict[str, Any] = {"cache": folder, "progress": False, "workers": 1 if name == "1 worker" else 2}
    processes: list[subprocess.Popen[bytes]] = []
    killer = Killer(len(plans)) if "killed" in name else None
    try:
        if name == "scheduler":
            processes, options["scheduler"] = start_scheduler(folder)
        if killer:
            killer.start()
        seconds, records = common.timed(pipeline.sweep, plans, folder / "results.jsonl", **options)
    finally:
        if killer:
            killer.stop()
        for process in processes:
            process.terminate()
            process.wait()
    return seconds, records, killer.kills if killer else 0


def start_scheduler(folder: Path) -> tuple[list[subprocess.Popen[bytes]], str]:
    """A Dask scheduler and two workers as a user starts them."""
    file = folder / "scheduler.json"
    dask = [str(Path(sys.executable).with_name("dask"))]
    common_options = ["--scheduler-file", str(file)]
    processes = [subprocess.Popen([*dask, "scheduler", "--port", "0", "--dashboard-address", ":0", *common_options])]
    while not file.exists():
        time.sleep(0.1)
    worker = [*dask, "worker", "--nworkers", "2", "--nthreads", "1", "--dashboard-address", ":0", *common_options]
    processes.append(subprocess.Popen(worker))
    return processes, common.read(file)["address"]


class Killer(threading.Thread):
    """Kills a worker of this process now and then, about one for every twenty pipelines."""

    def __init__(self, pipelines: int) -> None:
        super().__init__(daemon=True)
        self.wanted, self.kills, self.over = max(1, round(TASKS_KILLED * pipelines)), 0, threading.Event()

    def run(self) -> None:
        """Wait, kill a random worker, and again."""
        generator = random.Random(0)
        while self.kills < self.wanted and not self.over.wait(generator.uniform(8, 15)):
            workers = [child for child in psutil.Process().children(recursive=True)
                       if "spawn_main" in " ".join(child.cmdline())]  # fmt: skip
            if workers:
                generator.choice(workers).kill()
                self.kills += 1

    def stop(self) -> None:
        """End the thread."""
        self.over.set()
        self.join()


PARTS: dict[str, Part] = {"recipes": recipes, "killed": killed, "sweep": sweep}


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = common.parser(__doc__, "a small network, six pipelines", parts=PARTS).parse_args()
    if arguments.quick:
        results = common.Results(__doc__, arguments)
        for part in arguments.only:
            results.table(part, PARTS[part](True))
        results.save()
        return
    common.run_parts(arguments, "pipeline", PARTS, False)


if __name__ == "__main__":
    main()
