"""Secret seeds, and the references: what a right answer prints for them.

The seed of a student comes from a secret and the student's name, out of a pool of ``POOL`` per assignment, so that
the solution is run ``POOL`` times and not once per student. References are made in a separate process, outside the
sandbox, before the first submission is read, and are stored where no submission can see them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from course_lib.core.atomic_write import write_atomically
from course_lib.grading import probe_runtime
from course_lib.grading.assignment import Assignment, Reference
from course_lib.grading.building import ROOT

POOL = 8
REDRAWS = 20
REFERENCE_SECONDS = 600
SECRET_VARIABLE = "COURSE_GRADING_SECRET"
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}

Pool = list[dict[str, Reference]]


def secret(state: Path) -> bytes:
    """The instructor's secret: from the environment, else from a file that only its owner can read.

    Args:
        state: the grader's private folder; the file is made at first use.
    """
    if value := os.environ.get(SECRET_VARIABLE):
        return value.encode()
    file = state / "secret"
    if not file.is_file():
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
    return file.read_text(encoding="ascii").strip().encode()


def place_in_pool(key: bytes, assignment: str, student: str, pool: int = POOL) -> int:
    """Which of the pool's seeds a student gets."""
    return _number(key, "student", assignment, student) % pool


def seed(key: bytes, assignment: str, question: str, place: int, draw: int = 0) -> int:
    """The seed of one question at one place of the pool; each draw has another one."""
    return _number(key, "seed", assignment, question, str(place), str(draw)) >> 2


def references(assignment: Assignment, key: bytes, state: Path, pool: int = POOL) -> Pool:
    """For each place of the pool: question id → what a right answer prints. Computed once and stored in ``state``.

    Raises:
        RuntimeError: if the solution does not run, or a probe cannot be written safely.
    """
    name = hashlib.sha256(f"{assignment.digest}{_number(key, 'pool', assignment.name)}{pool}".encode()).hexdigest()
    file = state / "references" / f"{name}.json"
    if not file.is_file():
        made = _compute(assignment, key, pool)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        write_atomically(file, json.dumps(made)).chmod(0o600)
    stored = json.loads(file.read_text(encoding="utf-8"))
    return [
        {
            id: Reference(one["seed"], one["line"], tuple(one["floors"]), one.get("value", ""))
            for id, one in place.items()
        }
        for place in stored
    ]


def reference(answer: Any, module: str, function: str, seeds: list[int]) -> dict[str, Any]:
    """The first of ``seeds`` whose values do not lie at a rounding edge, with its line.

    Raises:
        RuntimeError: if none of them can, or two runs of the solution differ.
    """
    for one in seeds:
        writer = probe_runtime.Writer()
        writer.write(probe_runtime.values(module, function, answer, one))
        if writer.fragile:
            continue
        final = probe_runtime.Writer(writer.near_edges)
        line = final.write(probe_runtime.values(module, function, answer, one))
        again = probe_runtime.Writer(writer.near_edges).write(probe_runtime.values(module, function, answer, one))
        if line != again:
            raise RuntimeError(f"{function} gives other values in a second run with the same seed")
        return {"seed": one, "line": line, "floors": writer.near_edges}
    raise RuntimeError(f"{function} has values at a rounding edge for each of {len(seeds)} seeds")


def _compute(assignment: Assignment, key: bytes, pool: int) -> list[dict[str, Any]]:
    job = {
        "solution": str(assignment.path),
        "questions": {
            id: [[seed(key, assignment.name, id, place, draw) for draw in range(REDRAWS)] for place in range(pool)]
            for id in assignment.questions
        },
        "pool": pool,
    }
    finished = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps(job), env={**os.environ, **ENVIRONMENT}, check=False,
        capture_output=True, text=True, timeout=REFERENCE_SECONDS,
    )  # fmt: skip
    if finished.returncode != 0:
        reason = finished.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise RuntimeError(f"the references of {assignment.name} could not be made: {reason[0]}")
    return json.loads(finished.stdout.splitlines()[-1])


def _main() -> None:
    """Read a job from standard input, run the solution, print the references as one line."""
    job = json.load(sys.stdin)
    assignment = Assignment(job["solution"])
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in assignment.notebook(assignment.answers, {}).cells[1:]:  # without the preparation of the probes
        exec(compile(cell.source, cell.id, "exec"), namespace)
    made: list[dict[str, Any]] = [{} for _ in range(job["pool"])]
    for id, seeds in job["questions"].items():
        question = assignment.questions[id]
        for place, draws in enumerate(seeds):
            made[place][id] = reference(namespace[question.name], assignment.module, question.probe, draws)
            if question.is_data:
                made[place][id]["value"] = json.dumps(probe_runtime.tagged(namespace[question.name]()))
    print(json.dumps(made))


def _number(key: bytes, *parts: str) -> int:
    digest = hmac.new(key, "\0".join(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big")


if __name__ == "__main__":
    _main()
