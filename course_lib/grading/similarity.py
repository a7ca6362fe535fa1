"""Pairs of similar answers, for an instructor to look at; never a penalty.

Names, numbers and texts are left out of the comparison, so that renaming hides nothing; short answers are similar by
nature and are not compared. Source: Schleimer, Wilkerson and Aiken, Winnowing, 2003.
"""

from __future__ import annotations

import io
import itertools
import keyword
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.grading.results import GradedSubmission

GRAM = 6
SHORTEST = 30
THRESHOLD = 0.85


@dataclass(frozen=True)
class Pair:
    """Two students whose answers to a question share the fraction ``similarity`` of their token sequences."""

    question: str
    first: str
    second: str
    similarity: float


def report(results: Sequence[GradedSubmission], threshold: float = THRESHOLD) -> list[Pair]:
    """Pairs of answers that share at least ``threshold`` of their token sequences, most similar first."""
    pairs = []
    for question in sorted({one.question for result in results for one in result.questions}):
        prints = [(result.student, fingerprint(result.answers.get(question, ""))) for result in results]
        for (first, one), (second, other) in itertools.combinations([entry for entry in prints if entry[1]], 2):
            shared = len(one & other) / len(one | other)
            if shared >= threshold:
                pairs.append(Pair(question, first, second, round(shared, 3)))
    return sorted(pairs, key=lambda pair: -pair.similarity)


def fingerprint(source: str) -> frozenset[tuple[str, ...]]:
    """All sequences of ``GRAM`` tokens of an answer; empty if it is too short or not Python."""
    tokens = _tokens(source)
    if len(tokens) < SHORTEST:
        return frozenset()
    return frozenset(tuple(tokens[start : start + GRAM]) for start in range(len(tokens) - GRAM + 1))


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
