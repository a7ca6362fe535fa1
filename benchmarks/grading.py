"""Measure how fast a class is graded, with how much memory, and that a killed run resumes where it stopped.

A class hands in one exercise: right, half right, wrong, untouched, and every twentieth hostile in one question. It is
graded by one and by two workers, by ``nbgrader autograde`` on a random sample, and once more with the grader killed at
random moments. Every run must give each student the same points; a hostile answer must get none for its question.

The steps can be run one at a time, so that each is short enough for an idle machine:

    python benchmarks/grading.py --work FOLDER --step one     # and so on: two, nbgrader, commands, killed
    python benchmarks/grading.py --work FOLDER --json FILE    # what is still missing, then the tables
    python benchmarks/grading.py --readme                     # the shipped results into the grader's README
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from build_readme import fill, markdown, shipped
from common import Results, parser

from course_lib.core.atomic_write import write_atomically
from course_lib.grading import building, cells, results

GRADE = "import sys; from course_lib.grading import classroom; classroom.grade_class(sys.argv[2:], sys.argv[1], "
README = building.ROOT / "course_lib" / "grading" / "README.md"
SEED = 0
SAMPLE_SECONDS = 3  # looking at the memory costs time itself
NAMES = {"one": "course grade, 1 worker", "two": "course grade, 2 workers", "nbgrader": "nbgrader autograde"}
HOSTILE = {
    "ends the process": "import os\nos._exit(0)\n",
    "ends politely": "import sys\nsys.exit(0)\n",
    "never ends": "while True: pass\n",
    "stops the kernel": "get_ipython().kernel.do_shutdown(False)\n",
    "patches the check": "import course_lib.learning\ncourse_lib.learning.check = check = lambda *args: 'right'\n",
    "deletes asserts": (
        "import ast\nclass Delete(ast.NodeTransformer):\n    def visit_Expr(self, node): return ast.Pass()\n"
        "get_ipython().ast_transformers.append(Delete())\n"
    ),
    "prints what it likes": "print('[[1,2,3]]' * 1000)\n",
    "switches tracebacks off": "get_ipython().showtraceback = lambda *args, **kwargs: None\n",
    "patches torch": "import torch\ntorch.equal = torch.allclose = lambda *args, **kwargs: True\n",
    "reads the disk": "import glob\nfound = [open(p).read() for p in glob.glob('/*/*.ipynb') + glob.glob('/*/*.db')]\n",
}


def main() -> None:
    """Measure what is missing and print the tables; or write the shipped results into the README."""
    arguments = parser(__doc__, "8 students, 2 kills")
    arguments.add_argument("--exercise", default="03", help="two digits")
    arguments.add_argument("--students", type=int, default=200)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--work", type=Path, help="folder for class and measurements between steps")
    arguments.add_argument("--step", choices=list(Bench.STEPS), help="measure this one and stop")
    arguments.add_argument("--readme", action="store_true", help="write the shipped results into the grader's README")
    chosen = arguments.parse_args()
    if chosen.readme:
        text = fill(README.read_text(encoding="utf-8"), "measured", measured_text(shipped("grading")))
        write_atomically(README, text)
        return
    with tempfile.TemporaryDirectory() as name:
        students, kills = (8, 2) if chosen.quick else (chosen.students, chosen.kills)
        bench = Bench(chosen.work or Path(name), chosen.exercise, students, kills)
        for step in [chosen.step] if chosen.step else bench.STEPS:
            bench.run(step)
        if not chosen.step:
            report = Results(__doc__, chosen)
            for title, rows in bench.tables().items():
                report.table(title, rows)
            report.save()


class Bench:
    """One class in ``folder``, and the measurements with it."""

    STEPS = ("one", "two", "nbgrader", "commands", "killed")

    def __init__(self, folder: Path, lesson: str, students: int, kills: int) -> None:
        self.folder, self.lesson, self.kills = folder.resolve(), lesson, kills
        self.file = self.folder / "measured.json"
        self.measured: dict[str, Any] = json.loads(self.file.read_text()) if self.file.is_file() else {}
        submitted = self.folder / "submitted"
        if not submitted.is_dir():
            hand_in(submitted, lesson, students)
        self.students = sorted(submitted.iterdir())
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        self.environment = {
            **os.environ, "COURSE_GRADING_STATE": str(self.folder / "state"), "PYTHONPATH": str(building.ROOT),
            "PATH": programs, "COURSE_PROGRESS": str(self.folder / "progress.json"),
        }  # fmt: skip

    def run(self, step: str) -> None:
        """Measure a step, unless that was done before; secret and references are made before anything is timed."""
        if step in self.measured:
            return
        if not (self.folder / "state" / "references").is_dir():
            self._start(1, self.students[:1], self.folder / "first").wait()
        self.measured[step] = getattr(self, step)()
        print(step, {key: value for key, value in self.measured[step].items() if key != "points"}, flush=True)
        write_atomically(self.file, json.dumps(self.measured, indent=1))

    def one(self) -> dict[str, Any]:
        """The class graded by one worker."""
        return self._graded(1, self.folder / "workers-1")

    def two(self) -> dict[str, Any]:
        """The class graded by two workers."""
        return self._graded(2, self.folder / "workers-2")

    def killed(self) -> dict[str, Any]:
        """A run that is killed at random moments and then finished; no submission may be graded twice."""
        generator, out = random.Random(SEED), self.folder / "killed"
        for _ in range(self.kills):
            process = self._start(2, self.students, out)
            time.sleep(generator.uniform(2, 16))
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        before = {file: file.stat().st_mtime_ns for file in (out / "results").glob("*.json")}
        finished = self._graded(2, out)
        again = sum(not file.is_file() or file.stat().st_mtime_ns != written for file, written in before.items())
        return {"kills": self.kills, "done_before": len(before), "done_again": again, **finished}

    def nbgrader(self) -> dict[str, Any]:
        """``nbgrader autograde`` on a random sample: without a sandbox, one submission after the other."""
        sample = random.Random(SEED).sample(self.students, max(2, len(self.students) // 10))
        course, name = self.folder / "course", next(self.students[0].iterdir()).name
        shutil.rmtree(course, ignore_errors=True)
        (course / "source" / name).mkdir(parents=True)
        shutil.copy(building.SOLUTIONS / f"{name}.ipynb", course / "source" / name)
        for student in sample:
            shutil.copytree(student, course / "submitted" / student.name)
        (course / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'course'\n")
        program = [sys.executable, "-m", "nbgrader"]
        silent = {"cwd": course, "env": self.environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*program, "generate_assignment", name], check=True, **silent)
        return {"submissions": len(sample), **timed(subprocess.Popen([*program, "autograde", name], **silent))}

    def commands(self) -> dict[str, Any]:
        """Median seconds of ``course check`` of an exercise and ``course grade`` of one submission."""
        (solution,) = building.SOLUTIONS.glob(f"{self.lesson}_*.ipynb")
        alone = self.folder / "alone"
        course = [sys.executable, "-m", "course_lib.cli"]
        grade = [*course, "grade", str(self.students[0]), "--out"]
        runs: dict[str, list[float]] = {"check": [], "grade": [], "grade, first of its exercise": []}
        for number in range(3):
            new = {**self.environment, "COURSE_GRADING_STATE": str(alone / f"state-{number}")}
            for name, command, environment in (
                ("check", [*course, "check", str(solution)], self.environment),
                ("grade, first of its exercise", [*grade, str(alone / f"{number}-new")], new),
                ("grade", [*grade, str(alone / str(number))], self.environment),
            ):
                start = time.perf_counter()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                runs[name].append(time.perf_counter() - start)
        shutil.rmtree(alone)
        return {name: round(statistics.median(values), 2) for name, values in runs.items()}

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The tables of the results file."""
        rates = {step: 60 * self.measured[step]["submissions"] / self.measured[step]["seconds"] for step in NAMES}
        rows = [
            {"run": name, **{key: self.measured[step][key] for key in ("submissions", "seconds", "peak_memory_mb")},
             "per_minute": round(rates[step], 1), "times_nbgrader": round(rates[step] / rates["nbgrader"], 2)}
            for step, name in NAMES.items()
        ]  # fmt: skip
        killed = self.measured["killed"]
        points, most = killed["points"], max(killed["points"].values())
        same = all(points[student] == value for step in ("one", "two")
                   for student, value in self.measured[step]["points"].items())  # fmt: skip
        full, some = list(points.values()).count(most), sum(0 < value < most for value in points.values())
        resumed = {key: killed[key] for key in ("kills", "submissions", "done_before", "done_again")}
        return {
            "grading": rows,
            "scaling": [{"workers": 2, "times_one_worker": round(rates["two"] / rates["one"], 2)}],
            "resuming": [resumed | {"graded": len(points), "same_points": same}],
            "points": [{"students": len(points), "all": full, "some": some, "none": len(points) - full - some}],
            "commands": [{"command": f"course {name}", "seconds": value}
                         for name, value in self.measured["commands"].items()],
        }  # fmt: skip

    def _graded(self, workers: int, out: Path) -> dict[str, Any]:
        """One uninterrupted run in a separate process."""
        process = self._start(workers, self.students, out)
        measured = timed(process)
        if process.returncode:
            raise SystemExit(f"grading ended with status {process.returncode}")
        return {"submissions": len(self.students), **measured, "points": read_points(out)}

    def _start(self, workers: int, students: Sequence[Path], out: Path) -> subprocess.Popen:
        command = [sys.executable, "-W", "ignore", "-c", f"if __name__ == '__main__':\n {GRADE}workers={workers}, "
                   "progress=False)", str(out), *map(str, students)]  # fmt: skip
        return subprocess.Popen(command, env=self.environment, start_new_session=True)


def measured_text(content: dict[str, Any]) -> str:
    """The results as a table and a few sentences."""
    tables = content["tables"]
    table = markdown(
        ["run", "submissions", "seconds", "per minute", "against nbgrader", "peak memory"],
        [[row["run"], f"{row['submissions']}", f"{row['seconds']:g}", f"{row['per_minute']:g}",
          f"{row['times_nbgrader']:g}×", f"{row['peak_memory_mb']:,} MB"] for row in tables["grading"]],
    )  # fmt: skip
    resuming, points = tables["resuming"][0], tables["points"][0]
    commands = ", ".join(f"`{row['command']}` {row['seconds']:g} s" for row in tables["commands"])
    return f"""{table}

Exercise 03, a class of {points["students"]} ({points["all"]} with all points, {points["some"]} with some, \
{points["none"]} with none; every twentieth hostile in one question). nbgrader graded a random sample without a \
sandbox, one submission after the other. Memory is the sum over all processes; what they share counts once. Two \
workers are {tables["scaling"][0]["times_one_worker"]:g}× as fast as one.

Killed (SIGKILL, all processes) at {resuming["kills"]} random moments: {resuming["done_before"]} submissions had been \
graded, {resuming["done_again"]} of them were graded again; in the end {resuming["graded"]} of \
{resuming["submissions"]} were graded once, {"with" if resuming["same_points"] else "NOT with"} the points of the \
other runs. One notebook: {commands}. Measured by `benchmarks/grading.py` on {content["machine"]}."""


def hand_in(folder: Path, lesson: str, students: int) -> None:
    """nbgrader's layout, with a fixed mixture of answers."""
    (source,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    solution = cells.read(source)
    exercise = building.exercise(solution)
    text, places = building.exercise_text(solution), cells.questions(solution)
    for number in range(students):
        made = json.loads(text)
        for index, place in enumerate(places.values()):
            made["cells"][place.answer]["source"] = answer(number, index, solution, exercise, place.answer)
        target = folder / f"student-{number:03}" / source.stem / source.name
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(made), encoding="utf-8")


def answer(number: int, index: int, solution: Any, exercise: Any, cell: int) -> str:
    """Every twentieth is hostile in one question, every tenth untouched; the others are right in some questions."""
    stub, right = exercise.cells[cell].source, solution.cells[cell].source
    wrong = stub.replace("raise NotImplementedError()", "return 0")
    if number % 20 == 7 and index == 1:
        return list(HOSTILE.values())[number // 20 % len(HOSTILE)] + wrong
    if number % 10 == 3:
        return stub
    return right if number % 3 == 0 or (number + index) % 3 else wrong


def timed(process: subprocess.Popen) -> dict[str, Any]:
    """Seconds until a process ends, and the peak megabytes of it and all below it, sampled every third second."""
    start, peak = time.perf_counter(), 0
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=SAMPLE_SECONDS)
        peak = max(peak, memory(process.pid))
    return {"seconds": round(time.perf_counter() - start, 1), "peak_memory_mb": peak // 1_000_000}


def memory(pid: int) -> int:
    """Bytes of memory of a process and all below it; a page that several of them share counts once (PSS)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def read_points(out: Path) -> dict[str, float]:
    """Student → points, from the results of one run; each student must be there once."""
    stored = [found for file in (out / "results").glob("*.json") if (found := results.read(file)) is not None]
    if len(stored) != len({result.student for result in stored}):
        raise SystemExit("a student was graded twice")
    return {result.student: result.points for result in stored}


if __name__ == "__main__":
    main()
