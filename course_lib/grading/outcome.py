"""What can happen to a question: its status, why it was stopped, and the verdict. Texts in them are only shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What happened to a question."""

    PASSED = "passed"
    WRONG = "wrong"
    ERROR = "error"
    STOPPED = "stopped"
    NOT_ATTEMPTED = "not attempted"
    NOT_ACCEPTED = "not accepted"
    SHORTCUT = "shortcut"


ADVICE = {
    Status.PASSED: "Right.",
    Status.WRONG: "It ran, but its values are not those of a right answer. Run the check cell: it names the input.",
    Status.ERROR: "It ended with an error.",
    Status.STOPPED: "It was stopped.",
    Status.NOT_ATTEMPTED: "Not attempted.",
    Status.NOT_ACCEPTED: "The answer could not be taken from the notebook.",
    Status.SHORTCUT: "It uses an implementation of the course instead of its own; no points are given for that.",
}
"""What the student is told; the details of the verdict follow."""


class StopReason(StrEnum):
    """Why a question did not come to its end."""

    KERNEL_ENDED = "kernel ended"
    KERNEL_UNREACHABLE = "kernel unreachable"
    TIME = "time"
    OUTPUT = "output"
    COMPARISON_FAILED = "comparison failed"
    GRADER_GONE = "grader gone"


@dataclass(frozen=True)
class Stop:
    """A reason with the text that the student reads."""

    reason: StopReason
    text: str


KERNEL_ENDED = Stop(StopReason.KERNEL_ENDED, "the kernel ended")
TOO_LONG = Stop(StopReason.TIME, "it took too long")
NOT_REACHED = Stop(StopReason.COMPARISON_FAILED, "it was not reached")


@dataclass(frozen=True)
class Verdict:
    """The decision on one question.

    Args:
        details: for the student, after the advice; may contain text of the learner.
        stop_reason: set if the status is ``STOPPED``.
    """

    status: Status
    details: str = ""
    stop_reason: StopReason | None = None

    @classmethod
    def stopped(cls, stop: Stop) -> Verdict:
        """The verdict on a question that was stopped."""
        return cls(Status.STOPPED, stop.text, stop.reason)

    @property
    def passed(self) -> bool:
        """Whether the question earns its points."""
        return self.status is Status.PASSED
