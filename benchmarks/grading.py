"""How fast a class is graded, with how much memory, and that a killed run goes on where it stopped.

A class hands in one exercise: right, half right, wrong, untouched, and every twentieth hostile in one question. It is
graded by one and by two workers, by ``nbgrader autograde`` on a random sample, and once more with the grader killed at
random moments. Every run must give the same points to everybody; hostile answers must get none for their question.

The steps can be run one at a time, so that each is short enough for an idle machine:

    python benchmarks/grading.py --work FOLDER --step one     # and so on: two, nbgrader, commands, killed
    python benchmarks/grading.py --work FOLDER --json FILE    # what is still missing, then the tables
    python benchmarks/grading.py --readme                     # the shipped results into the grader's page
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from common import Results, parser

from course_lib.core.atomic_write import write_atomically
from course_lib.grading import building, cells, feedback

GRADE = "import sys; from course_lib.grading import classroom; classroom.grade_class(sys.argv[2:], sys.argv[1], "
README = building.ROOT / "course_lib" / "grading" / "README.md"
SHIPPED = building.ROOT / "course_lib" / "assets" / "results" / "grading.json"
PART = re.compile(r"(<!-- measured -->\n).*?(<!-- /measured -->)", re.DOTALL)
SEED = 0
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
    arguments = parser(__doc__, "8 students, 2 kills")
    arguments.add_argument("--exercise", default="03", help="two digits")
    arguments.add_argument("--students", type=int, default=200)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--work", type=Path, help="folder that keeps class and measurements between steps")
    arguments.add_argument("--step", choices=list(Bench.STEPS), help="measure this one and stop")
    arguments.add_argument("--readme", action="store_true", help="write the shipped results into the grader's page")
    chosen = arguments.parse_args()
    if chosen.readme:
        write_atomically(README, filled(README.read_text(encoding="utf-8")))
        return
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(chosen.work or Path(name), chosen.exercise, *((8, 2) if chosen.quick else
                      (chosen.students, chosen.kills)))  # fmt: skip
        for step in [chosen.step] if chosen.step else bench.STEPS:
            bench.run(step)
        if not chosen.step:
            results = Results(__doc__, chosen)
            for title, rows in bench.tables().items():
                results.table(title, rows)
            results.save()


class Bench:
    """One class in ``folder``, and what was measured with it."""

    STEPS = ("one", "two", "nbgrader", "commands", "killed")

    def __init__(self, folder: Path, lesson: str, students: int, kills: int) -> None:
        self.folder, self.lesson, self.students, self.kills = folder.resolve(), lesson, students, kills
        self.file = self.folder / "measured.json"
        self.measured: dict[str, Any] = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.submitted = self.folder / "submitted"
        if not self.submitted.is_dir():
            hand_in(self.submitted, lesson, students)
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        self.environment = {
            **os.environ, "COURSE_GRADING_STATE": str(self.folder / "state"), "PYTHONPATH": str(building.ROOT),
            "PATH": programs, "COURSE_PROGRESS": str(self.folder / "progress.json"),
        }  # fmt: skip

    def run(self, step: str) -> None:
        """Measure a step, unless that was done before."""
        if step in self.measured:
            return
        steps: dict[str, Callable[[], Any]] = {
            "one": lambda: self.graded(1), "two": lambda: self.graded(2),
            "nbgrader": self.autograded, "commands": self.commands, "killed": self.killed,
        }  # fmt: skip
        self.warm()
        self.measured[step] = steps[step]()
        print(step, {key: value for key, value in self.measured[step].items() if key != "points"}, flush=True)
        write_atomically(self.file, json.dumps(self.measured, indent=1))

    @property
    def class_(self) -> list[Path]:
        return sorted(self.submitted.iterdir())

    def warm(self) -> None:
        """Make secret and references, which is done once per exercise, before anything is timed."""
        if not (self.folder / "state" / "references").is_dir():
            self.finish(self.start(1, self.class_[:1], self.folder / "warm"))

    def graded(self, workers: int, out: str = "") -> dict[str, Any]:
        """One uninterrupted run in a process of its own: seconds, peak memory of all its processes, points."""
        folder, students = self.folder / (out or f"workers-{workers}"), self.class_
        start = time.perf_counter()
        peak = self.finish(self.start(workers, students, folder))
        return {
            "submissions": len(students), "seconds": round(time.perf_counter() - start, 1), "peak_memory_mb": peak,
            "points": read_points(folder),
        }  # fmt: skip

    def start(self, workers: int, students: Sequence[Path], out: Path) -> subprocess.Popen:
        command = [sys.executable, "-W", "ignore", "-c", f"if __name__ == '__main__':\n {GRADE}workers={workers}, "
                   "progress=False)", str(out), *map(str, students)]  # fmt: skip
        return subprocess.Popen(command, env=self.environment, start_new_session=True)

    def finish(self, process: subprocess.Popen) -> int:
        peak = watch(process)
        if process.returncode:
            raise SystemExit(f"grading ended with status {process.returncode}")
        return peak

    def killed(self) -> dict[str, Any]:
        """Kill the whole run at random moments, then let it end; nothing that was done is done again."""
        randomness, out = random.Random(SEED), self.folder / "killed"
        for _ in range(self.kills):
            process = self.start(2, self.class_, out)
            time.sleep(randomness.uniform(2, 16))
            for one in psutil.Process(process.pid).children(recursive=True):
                one.kill()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        before = {file.name: file.stat().st_mtime_ns for file in (out / "results").glob("*.json")}
        finished = self.graded(2, "killed")
        after = {file.name: file.stat().st_mtime_ns for file in (out / "results").glob("*.json")}
        again = sum(after.get(name) != time for name, time in before.items())
        return {"kills": self.kills, "done_before": len(before), "done_again": again, **finished}

    def autograded(self) -> dict[str, Any]:
        """``nbgrader autograde`` on a random sample, which it runs without protection, one after the other."""
        sample = random.Random(SEED).sample(self.class_, max(2, self.students // 10))
        course, name = self.folder / "course", next(self.submitted.glob("*/*")).name
        shutil.rmtree(course, ignore_errors=True)
        (course / "source" / name).mkdir(parents=True)
        shutil.copy(building.SOLUTIONS / f"{name}.ipynb", course / "source" / name)
        for student in sample:
            shutil.copytree(student, course / "submitted" / student.name)
        (course / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'course'\n")
        nbgrader = [sys.executable, "-m", "nbgrader"]
        silent = {"cwd": course, "env": self.environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*nbgrader, "generate_assignment", name], check=True, **silent)
        start = time.perf_counter()
        peak = watch(subprocess.Popen([*nbgrader, "autograde", name], **silent))
        seconds = round(time.perf_counter() - start, 1)
        return {"submissions": len(sample), "seconds": seconds, "peak_memory_mb": peak}

    def commands(self) -> dict[str, Any]:
        """What a person waits for: ``course check`` of an exercise, ``course grade`` of one submission."""
        (solution,) = building.SOLUTIONS.glob(f"{self.lesson}_*.ipynb")
        alone = self.folder / "alone"
        course = [sys.executable, "-m", "course_lib.cli"]
        runs: dict[str, list[float]] = {"check": [], "grade": [], "grade, first of its exercise": []}
        for number in range(3):
            out = str(alone / str(number))
            new = {**self.environment, "COURSE_GRADING_STATE": str(alone / f"state-{number}")}
            runs["check"].append(self.seconds([*course, "check", str(solution)], self.environment))
            grade = [*course, "grade", str(self.class_[0]), "--out"]
            runs["grade, first of its exercise"].append(self.seconds([*grade, f"{out}-new"], new))
            runs["grade"].append(self.seconds([*grade, out], self.environment))
        shutil.rmtree(alone)
        return {name: round(statistics.median(values), 2) for name, values in runs.items()}

    def seconds(self, command: list[str], environment: dict[str, str]) -> float:
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return time.perf_counter() - start

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """What is printed and kept."""
        names = {"one": "course grade, 1 worker", "two": "course grade, 2 workers", "nbgrader": "nbgrader autograde"}
        rates = {step: 60 * self.measured[step]["submissions"] / self.measured[step]["seconds"] for step in names}
        rows = [
            {"run": name, **{key: self.measured[step][key] for key in ("submissions", "seconds", "peak_memory_mb")},
             "per_minute": round(rates[step], 1), "times_nbgrader": round(rates[step] / rates["nbgrader"], 2)}
            for step, name in names.items()
        ]  # fmt: skip
        killed = self.measured["killed"]
        others = [self.measured[step]["points"] for step in ("one", "two")]
        same = all(killed["points"][student] == points for found in others for student, points in found.items())
        resumed = {key: killed[key] for key in ("kills", "submissions", "done_before", "done_again")}
        return {
            "grading": rows,
            "scaling": [{"workers": 2, "times_one_worker": round(rates["two"] / rates["one"], 2)}],
            "resuming": [resumed | {"graded": len(killed["points"]), "same_points": same}],
            "points": [self.distribution(killed["points"])],
            "commands": [{"command": f"course {name}", "seconds": value}
                         for name, value in self.measured["commands"].items()],
        }  # fmt: skip

    def distribution(self, points: dict[str, float]) -> dict[str, int]:
        """How many students got all points, some, and none."""
        full = max(points.values())
        some = sum(0 < value < full for value in points.values())
        all_points = sum(value == full for value in points.values())
        return {"students": len(points), "all": all_points, "some": some, "none": len(points) - some - all_points}


def filled(readme: str) -> str:
    """The grader's page with the shipped results in its generated part."""
    content = json.loads(SHIPPED.read_text(encoding="utf-8"))
    text = measured_text(content)
    return PART.sub(lambda found: f"{found[1]}{text}\n{found[2]}", readme)


def measured_text(content: dict[str, Any]) -> str:
    """The results as a table and a few sentences."""
    tables = content["tables"]
    lines = [
        "| run | submissions | seconds | per minute | against nbgrader | peak memory |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['run']} | {row['submissions']} | {row['seconds']:g} | {row['per_minute']:g} | "
        f"{row['times_nbgrader']:g}× | {row['peak_memory_mb']:,} MB |"
        for row in tables["grading"]
    ]
    resuming, points = tables["resuming"][0], tables["points"][0]
    waits = ", ".join(f"`{row['command']}` {row['seconds']:g} s" for row in tables["commands"])
    return "\n".join([
        *lines, "",
        f"Exercise 03, a class of {points['students']} ({points['all']} with all points, {points['some']} with some, "
        f"{points['none']} with none; every twentieth hostile in one question). nbgrader ran a random sample, "
        "without a sandbox and one after the other, as it does. Memory is the sum over all processes, so what they "
        f"share counts for each. Two workers are {tables['scaling'][0]['times_one_worker']:g}× as fast as one.",
        "",
        f"Killed (SIGKILL, all processes) at {resuming['kills']} random moments: {resuming['done_before']} submissions "
        f"had been graded, {resuming['done_again']} of them again; in the end {resuming['graded']} of "
        f"{resuming['submissions']} "
        f"were graded once, {'with' if resuming['same_points'] else 'NOT with'} the points of the other runs. "
        f"One notebook: {waits}. Measured by `benchmarks/grading.py` on {content['machine']}.",
    ])  # fmt: skip


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


def watch(process: subprocess.Popen) -> int:
    """Peak megabytes of a process and all below it (resident, what they share counts for each), once a second."""
    peak = 0
    while True:
        try:
            process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, resident(process.pid))
    return peak // 1_000_000


def resident(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return total
    for one in tree:
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue
    return total


def read_points(out: Path) -> dict[str, float]:
    """Student → points, from the results of one run; everybody must be there once."""
    stored = [json.loads(file.read_text()) for file in (out / "results").glob("*.json")]
    if len(stored) != len({result["student"] for result in stored}):
        raise SystemExit("somebody was graded twice")
    return {result["student"]: feedback.total(result) for result in stored}


if __name__ == "__main__":
    main()
