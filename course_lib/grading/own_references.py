"""What right answers print in `course check`, from the course's own answers and fixed seeds.

They are made in a process of their own, so that the caller keeps its settings and random numbers.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Collection

from course_lib.grading import probes
from course_lib.grading.assignment import Exercise, Reference

FIRST_SEED = 20_000
_made: dict[str, Reference] = {}


def make(exercise: Exercise, questions: Collection[str]) -> dict[str, Reference]:
    """For each of these questions, what a right answer prints.

    Raises:
        RuntimeError: if the course's own answers do not run.
    """
    if missing := [id for id in questions if id not in _made]:
        _made.update(_compute(exercise.lesson, missing))
    return {id: _made[id] for id in questions}


def _compute(lesson: str, questions: Collection[str]) -> dict[str, Reference]:
    command = [sys.executable, "-m", __name__, lesson, *questions]
    finished = subprocess.run(
        command, env={**os.environ, **probes.ENVIRONMENT}, check=False, capture_output=True, text=True,
        timeout=probes.REFERENCE_SECONDS,
    )  # fmt: skip
    if finished.returncode != 0:
        reason = finished.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise RuntimeError(f"the course's own answers of lesson {lesson} do not run here: {reason[0]}")
    made = json.loads(finished.stdout.splitlines()[-1])
    return {id: Reference(one["seed"], one["line"], tuple(one["floors"])) for id, one in made.items()}


def _main(lesson: str, *questions: str) -> None:
    exercise = Exercise.of_lesson(lesson)
    answers = importlib.import_module(exercise.module.replace(".questions", ".reference"))
    seeds = list(range(FIRST_SEED, FIRST_SEED + probes.REDRAWS))
    made = {id: probes.reference(getattr(answers, asked.name), exercise.module, asked.probe, seeds)
            for id, asked in exercise.questions.items() if id in questions}  # fmt: skip
    print(json.dumps(made))


if __name__ == "__main__":
    _main(*sys.argv[1:])
