"""The settings of a grading run, and the key under which a result is stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from course_lib.grading import building, probes, sandbox
from course_lib.grading.assignment import Assignment

LATER = (
    "attempts", "batch", "class_files", "classroom", "feedback", "gradebook", "intake", "known_code", "late",
    "own_kernel", "own_references", "own_run", "selfcheck", "similarity", "student_names", "trial",
)  # fmt: skip
"""Modules that only order or present results: a change in them decides no verdict. All others are in the digest."""


@dataclass(frozen=True)
class Settings:
    """Settings of a grading run.

    Args:
        out: folder of the results.
        state: the grader's private folder, with the secret and the references.
        pool: number of seeds per assignment.
    """

    out: str
    state: str
    solutions: str = str(building.SOLUTIONS)
    level: str = "bwrap"
    limits: sandbox.Limits = field(default_factory=sandbox.Limits)
    pool: int = probes.POOL

    def require_sandbox(self) -> None:
        """Check that the level works here and shows none of the folders of this run.

        Raises:
            SandboxError: if it does not.
        """
        sandbox.require(self.level)
        sandbox.require_hidden(self.level, out=self.out, state=self.state, solutions=self.solutions)

    def result_file(self, key: str) -> Path:
        """Where the result with this key is stored."""
        return Path(self.out) / "results" / f"{key}.json"

    def place(self, assignment: Assignment, student: str) -> int:
        """The place of a student in the pool of seeds."""
        return probes.place_in_pool(probes.secret(Path(self.state)), assignment.name, student, self.pool)

    def references(self, assignment: Assignment) -> probes.Pool:
        """For each place of the pool: question id → what a right answer prints; made at the first call.

        Raises:
            RuntimeError: if they cannot be made.
        """
        return probes.references(assignment, probes.secret(Path(self.state)), Path(self.state), self.pool)


def result_key(content: bytes, student: str, assignment: Assignment, settings: Settings) -> str:
    """sha256 of submission, grader, exercise, seed and the settings that can change a verdict."""
    secret, place = probes.secret(Path(settings.state)), settings.place(assignment, student)
    parts = [
        hashlib.sha256(content).hexdigest(), grader_digest(), assignment.digest, student, str(place),
        hashlib.sha256(secret).hexdigest(), settings.level, json.dumps(asdict(settings.limits)), str(settings.pool),
    ]  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def deciding_modules() -> list[Path]:
    """The files of the grader that can change a verdict."""
    return sorted(file for file in Path(__file__).parent.glob("*.py") if file.stem not in LATER)


@lru_cache(maxsize=1)
def grader_digest() -> str:
    """sha256 of the files that can change a verdict."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in deciding_modules())).hexdigest()
