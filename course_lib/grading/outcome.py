"""What can happen to a question, as values: its status, why it was stopped, and the verdict.

Decisions compare these values; the texts beside them are only shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What happened to a question: what the student is told, and whether the details of the verdict follow."""

    advice: str
    has_details: bool

    PASSED = "passed", "Right."
    WRONG = "wrong", "It ran, but its values are not those of a right answer. Run the check cell: it names the input."
    ERROR = "error", "It ended with an error.", True
    STOPPED = "stopped", "It was stopped.", True
    NOT_ATTEMPTED = "not attempted", "Not attempted."
    NOT_ACCEPTED = "not accepted", "The answer could not be taken from the notebook.", True
    SHORTCUT = "shortcut", "It uses an implementation of the course instead of its own; no points are given for that."

    def __new__(cls, value: str, advice: str, has_details: bool = False) -> Status:
        """A member whose value is the text in stored results."""
        member = str.__new__(cls, value)
        member._value_, member.advice, member.has_details = value, advice, has_details
        return member

    def points(self, max_points: float) -> float:
        """Points of a question with this status: all or none."""
        return max_points if self is Status.PASSED else 0.0


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
NOT_REACHED = Stop(StopReason.COMPARISON_FAILED, "it was not reached")


@dataclass(frozen=True)
class Verdict:
    """The decision on one question.

    Args:
        details: shown after the advice of the status; may hold text of the learner.
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
