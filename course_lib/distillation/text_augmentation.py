"""More text for a teacher to judge: pieces of known sentences, spliced, with words hidden or exchanged.

A student of a few thousand sentences learns them by heart. Rewritten ones need no labels, only a teacher, and they
need not make sense: the teacher's answer to a broken sentence still says how it reads.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from course_lib import data
from course_lib.core.validation import check_fraction, check_positive
from course_lib.data import Split, refuse_test

MASK = "[MASK]"


@dataclass(frozen=True)
class Rewriting:
    """How often which change is made; all are probabilities in [0, 1].

    Args:
        splice: that a sentence goes on with the end of another one.
        piece: that only a stretch of its words stays.
        mask: that a word becomes ``[MASK]``.
        swap: that a word becomes any other of the text, frequent ones more often.
    """

    splice: float = 0.25
    piece: float = 0.35
    mask: float = 0.1
    swap: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_fraction(name, value, below_one=False)
        if self.mask + self.swap > 1:
            raise ValueError(f"mask and swap must not sum to more than 1, got {self.mask} and {self.swap}")


def rewritten(
    sentences: Sequence[str], copies: int = 1, *, changes: Rewriting | None = None, seed: int = 0
) -> list[str]:
    """``copies`` rewritten versions of each sentence, one whole round after the other.

    Args:
        sentences: words are what blanks separate; every sentence must have one.

    Raises:
        ValueError: if there is no sentence, one has no word, or ``copies`` is not positive.

    Source: Tang et al., Distilling Task-Specific Knowledge from BERT into Simple Neural Networks, 2019 (mask, exchange,
    n-grams; they exchange words of one part of speech).
    """
    check_positive("copies", copies)
    words = [sentence.split() for sentence in sentences]
    if not words or not all(words):
        raise ValueError("sentences must be at least one, and each must have a word")
    changes, chance = changes or Rewriting(), random.Random(seed)
    text = [word for sentence in words for word in sentence]
    rounds = (sentence for _ in range(copies) for sentence in words)
    return [
        " ".join(_changed(_stretch(sentence, words, changes, chance), text, changes, chance)) for sentence in rounds
    ]


def rewritten_split(split: Split, copies: int = 1, *, changes: Rewriting | None = None, seed: int = 0) -> Split:
    """The sentences of ``split`` rewritten and tokenized, as transfer text: all labels are zero and mean nothing.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it has no texts, or as in ``rewritten``.
    """
    refuse_test(split, "rewritten for a student to learn from")
    texts = rewritten(split.texts, copies, changes=changes, seed=seed)
    labels = torch.zeros(len(texts), dtype=torch.int64)
    return Split(f"{split.dataset}, rewritten", split.name, data.tokenize(texts), labels, split.classes, tuple(texts))


def _stretch(sentence: list[str], others: Sequence[list[str]], changes: Rewriting, chance: random.Random) -> list[str]:
    """Perhaps the beginning of ``sentence`` and the end of another; perhaps only a part of that."""
    if chance.random() < changes.splice:
        other = chance.choice(others)
        sentence = sentence[: chance.randint(1, len(sentence))] + other[chance.randint(0, len(other) - 1) :]
    if chance.random() < changes.piece and len(sentence) > 2:
        length = chance.randint(2, len(sentence))
        start = chance.randint(0, len(sentence) - length)
        sentence = sentence[start : start + length]
    return sentence


def _changed(sentence: list[str], text: Sequence[str], changes: Rewriting, chance: random.Random) -> list[str]:
    """Each word kept, hidden, or exchanged."""
    words = []
    for word in sentence:
        draw = chance.random()
        if draw < changes.mask:
            word = MASK
        elif draw < changes.mask + changes.swap:
            word = chance.choice(text)
        words.append(word)
    return words
