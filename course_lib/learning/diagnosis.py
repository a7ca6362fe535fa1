"""Advice for a wrong answer: which known mistake fails the check in the same way.

A known mistake is the solution with a few edits. Its check runs once; if it fails at the same call and with the same
difference as the learner's function, the learner most likely made this mistake.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

Edit = tuple[str, str]
Fails = Callable[[str, Any], "Failure | None"]

TOLERANCE = 2e-5
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
_LINE = re.compile(r" \(line \d.*")
_COUNT = re.compile(r"\(\d[\d,]* of \d[\d,]* entries differ\)")


@dataclass(frozen=True)
class Mistakes:
    """The known mistakes of one question.

    Args:
        name: the function or class of the reference module.
        known: advice → what to change in its source: pairs (before, after), or the whole source.
    """

    name: str
    known: Mapping[str, Sequence[Edit] | str]


@dataclass(frozen=True)
class Failure:
    """At which call of the answer a check failed, and what it said."""

    call: int
    problem: str


def advice(question: str, failure: Failure, fails: Fails) -> str | None:
    """The advice for the first known mistake that fails like ``failure``, or None.

    Args:
        question: id such as ``"03.1"``.
        fails: runs the check of a question on a function; the failure, or None if the check passes.
    """
    known = _failures(question, fails)
    alike = [said for said, one in known if _alike(one, failure)]
    # rounding errors can change how many entries differ
    alike += [said for said, one in known if _alike(_uncounted(one), _uncounted(failure))]
    return alike[0] if alike else None


def variants(question: str) -> Iterator[tuple[str, Any]]:
    """Advice and function of every known mistake of a question.

    Raises:
        ValueError: if an edit does not occur in the source of the reference.
    """
    package = f"{__package__}.exercises.lesson_{question[:2]}"
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(f"{package}.mistakes") is None:
        return
    listed: Mistakes | None = importlib.import_module(f"{package}.mistakes").MISTAKES.get(question)
    reference = importlib.import_module(f"{package}.reference")
    for said, edits in listed.known.items() if listed else ():
        namespace = dict(vars(reference))
        source = inspect.getsource(namespace[listed.name]) if listed and not isinstance(edits, str) else edits
        exec(compile(_edited(source, edits), f"<a mistake in {question}>", "exec"), namespace)
        yield said, namespace[listed.name] if listed else None


@cache
def _failures(question: str, fails: Fails) -> list[tuple[str, Failure]]:
    found = [(said, fails(question, function)) for said, function in variants(question)]
    return [(said, failure) for said, failure in found if failure is not None]


def _edited(source: Any, edits: Sequence[Edit] | str) -> str:
    for before, after in () if isinstance(edits, str) else edits:
        if before not in source:
            raise ValueError(f"edit {before!r} must occur in the reference, which is\n{source}")
        source = source.replace(before, after)
    return source


def _alike(known: Failure, found: Failure) -> bool:
    """Whether two checks failed at the same call with the same words and nearly the same numbers."""
    if known.call != found.call:
        return False
    texts = [_LINE.sub("", one.problem) for one in (known, found)]
    if _NUMBER.sub("#", texts[0]) != _NUMBER.sub("#", texts[1]):
        return False
    return all(_close(*pair) for pair in zip(*(_NUMBER.findall(text) for text in texts), strict=True))


def _uncounted(failure: Failure) -> Failure:
    return Failure(failure.call, _COUNT.sub("", failure.problem))


def _close(one: str, other: str) -> bool:
    """Whether two numbers, as they were printed, are equal but for rounding errors; whole numbers must be equal."""
    exact = "." not in one and "." not in other
    values = [float(text.replace(",", "")) for text in (one, other)]
    return math.isclose(*values, rel_tol=0.0 if exact else TOLERANCE, abs_tol=1e-9)
