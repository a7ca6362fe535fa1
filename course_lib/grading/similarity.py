"""Pairs of similar answers, for an instructor to look at; never a penalty.

Names, numbers and texts are left out of the comparison, so that renaming hides nothing. What an answer shares with the
code that everybody was given (``known_code``) does not count, and neither does an answer of which little else is left.
Source: Schleimer, Wilkerson and Aiken, Winnowing, 2003.
"""

from __future__ import annotations

import io
import itertools
import keyword
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from course_lib.grading.results import GradedSubmission

GRAM = 6
SHORTEST = 25
THRESHOLD = 0.85

Fingerprint = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Pair:
    """Answers to a question that share the fraction ``similarity`` of their token sequences.

    ``second`` is a student, or a function of the course from which the answer of ``first`` may be copied.
    """

    question: str
    first: str
    second: str
    similarity: float


def report(
    results: Sequence[GradedSubmission],
    given: Mapping[str, Fingerprint],
    course: Mapping[str, Fingerprint],
    threshold: float = THRESHOLD,
) -> list[Pair]:
    """Pairs that share at least ``threshold`` of their token sequences, most similar first.

    Args:
        given: question → the code that everybody was given; it is left out of all comparisons.
        course: name of a function of the course → its code.
    """
    pairs = []
    for question in sorted({id for result in results for id in result.answers}):
        known = given.get(question, frozenset())
        prints = {one.student: fingerprint(one.answers.get(question, "")) - known for one in results}
        own = {student: found for student, found in prints.items() if len(found) >= SHORTEST}
        for first, second in itertools.combinations(own, 2):
            pairs.append(Pair(question, first, second, _shared(own[first], own[second])))
        for student, name in itertools.product(own, course):
            pairs.append(Pair(question, student, name, _contained(own[student], course[name])))
    return sorted((pair for pair in pairs if pair.similarity >= threshold), key=lambda pair: -pair.similarity)


def fingerprint(source: str) -> Fingerprint:
    """All sequences of ``GRAM`` tokens of a source; empty if it is not Python."""
    tokens = _tokens(source)
    return frozenset(tuple(tokens[start : start + GRAM]) for start in range(len(tokens) - GRAM + 1))


def _shared(one: Fingerprint, other: Fingerprint) -> float:
    return round(len(one & other) / len(one | other), 3)


def _contained(part: Fingerprint, whole: Fingerprint) -> float:
    return round(len(part & whole) / len(part), 3)


def _tokens(source: str) -> list[str]:
    kinds = {tokenize.NUMBER: "number", tokenize.STRING: "text"}
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    try:
        found = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return []
    tokens = []
    for token in found:
        if token.type == tokenize.NAME:
            tokens.append(token.string if keyword.iskeyword(token.string) else "name")
        elif token.type not in skipped:
            tokens.append(kinds.get(token.type, token.string))
    return tokens
