"""How fast a class is graded, with how much memory, and that a killed run goes on where it stopped.

A class hands in one exercise: right, half right, wrong, untouched, and every twentieth hostile. It is graded by one
and by two workers, by ``nbgrader autograde`` on the same notebooks, and once more with the grader killed at random
moments; every run must give the same points to everybody.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import Results, parser
from course_lib.grading import building, cells, feedback

HOSTILE = "import os\nos._exit(0)\n"
GRADE = "import sys; from course_lib.grading import classroom; classroom.grade_class([sys.argv[1]], sys.argv[2], "


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--exercise", default="03", help="two digits")
    arguments.add_argument("--students", type=int, default=200)
    arguments.add_argument("--kills", type=int, default=20)
    chosen = arguments.parse_args()
    students, kills = (8, 2) if chosen.quick else (chosen.students, chosen.kills)
    results = Results(__doc__, chosen)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        handed_in = hand_in(folder / "submitted", chosen.exercise, students)
        environment = {**os.environ, "COURSE_GRADING_STATE": str(folder / "state"), "PYTHONPATH": str(building.ROOT)}
        timed(folder, "warm", environment, 1, students=handed_in / "student-000")
        rows, points = [], []
        for workers in (1, 2):
            row, found = timed(folder, f"workers-{workers}", environment, workers)
            rows.append(row | {"submissions_per_minute": 60 * students / row["seconds"]})
            points.append(found)
        rows.append(autograde(folder, handed_in) | {"run": "nbgrader autograde"})
        rows[-1]["submissions_per_minute"] = 60 * students / rows[-1]["seconds"]
        results.table("grading", rows)
        resumed = killed(folder, environment, kills)
        points.append(resumed.pop("points"))
        results.table("resuming", [resumed | {"same_points": all(one == points[0] for one in points)}])
    results.save()


def hand_in(folder: Path, lesson: str, students: int) -> Path:
    """nbgrader's layout, with a fixed mixture of answers."""
    (source,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    solution = cells.read(source)
    exercise = building.exercise(solution)
    places = cells.questions(solution)
    for number in range(students):
        made = json.loads(building.exercise_text(solution))
        for index, (id, place) in enumerate(places.items()):
            made["cells"][place.answer]["source"] = answer(number, index, id, solution, exercise, place.answer)
        target = folder / f"student-{number:03}" / source.stem / source.name
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(made), encoding="utf-8")
    return folder


def answer(number: int, index: int, id: str, solution: Any, exercise: Any, cell: int) -> str:
    """Every twentieth is hostile in one question, every tenth untouched; the others are right in some questions."""
    stub, right = exercise.cells[cell].source, solution.cells[cell].source
    if number % 20 == 7 and index == 1:
        return HOSTILE + stub
    if number % 10 == 3:
        return stub
    wrong = stub.replace("raise NotImplementedError()", "return 0")
    return right if number % 3 == 0 or (number + index) % 3 else wrong


def timed(
    folder: Path, name: str, environment: dict[str, str], workers: int, students: Path | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """One uninterrupted run in a process of its own: seconds, peak memory of all its processes, points."""
    start = time.perf_counter()
    process = start_grading(students or folder / "submitted", folder / name, environment, workers)
    peak = watch(process)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"grading ended with status {process.returncode}")
    row = {"run": f"course grade, {workers} worker(s)", "seconds": round(seconds, 1), "peak_memory_mb": peak}
    return row, read_points(folder / name)


def start_grading(handed_in: Path, out: Path, environment: dict[str, str], workers: int) -> subprocess.Popen:
    command = [sys.executable, "-c", f"if __name__ == '__main__':\n {GRADE}workers={workers}, progress=False)"]
    return subprocess.Popen([*command, str(handed_in), str(out)], env=environment, start_new_session=True)


def watch(process: subprocess.Popen) -> int:
    """Peak resident megabytes of a process and all below it, looked at five times a second."""
    peak = 0
    while process.poll() is None:
        total = 0
        try:
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.Error:
            break
        for one in tree:
            try:
                total += one.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(0.2)
    process.wait()
    return peak // 1_000_000


def read_points(out: Path) -> dict[str, float]:
    stored = [json.loads(file.read_text()) for file in (out / "results").glob("*.json")]
    if len(stored) != len({result["student"] for result in stored}):
        raise SystemExit("somebody was graded twice")
    return {result["student"]: feedback.total(result) for result in stored}


def killed(folder: Path, environment: dict[str, str], kills: int) -> dict[str, Any]:
    """Kill the whole run at random moments, then let it end; count what had been done before."""
    randomness, out = random.Random(0), folder / "killed"
    for _ in range(kills):
        process = start_grading(folder / "submitted", out, environment, 2)
        time.sleep(randomness.uniform(2, 30))
        for one in psutil.Process(process.pid).children(recursive=True):
            one.kill()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = len(list((out / "results").glob("*.json")))
    _, points = timed(folder, "killed", environment, 2)
    return {"kills": kills, "done_before_the_last_run": before, "graded": len(points), "points": points}


def autograde(folder: Path, handed_in: Path) -> dict[str, Any]:
    """``nbgrader autograde`` on the same notebooks, which runs them without protection."""
    course = folder / "course"
    lesson = next(handed_in.glob("*/*/*.ipynb"))
    release = course / "source" / lesson.parent.name
    release.mkdir(parents=True)
    shutil.copy(building.SOLUTIONS / lesson.name, release)
    shutil.copytree(handed_in, course / "submitted")
    (course / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'course'\n")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])  # alembic
    environment = {
        **os.environ, "PATH": programs, "PYTHONPATH": str(building.ROOT),
        "COURSE_PROGRESS": str(folder / "progress.json"),
    }  # fmt: skip
    nbgrader = [sys.executable, "-m", "nbgrader"]
    quiet = {"cwd": course, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*nbgrader, "generate_assignment", release.name], check=True, **quiet)
    start = time.perf_counter()
    process = subprocess.Popen([*nbgrader, "autograde", release.name], **quiet)
    peak = watch(process)
    return {"run": "", "seconds": round(time.perf_counter() - start, 1), "peak_memory_mb": peak}


if __name__ == "__main__":
    main()
