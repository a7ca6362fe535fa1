"""Text augmentation: sentences that are spliced, cropped, and have words masked or swapped, for a teacher to label.

A few thousand sentences are soon memorized by a student. Augmented ones need no labels, only a teacher, and they need
not make sense: its output for a broken sentence is still a useful target.
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
    """Probabilities of each change, in [0, 1].

    Args:
        splice: that a sentence continues with the end of another one.
        piece: that it is cropped to a part of its words.
        mask: that a word is replaced by ``[MASK]``.
        swap: that a word is replaced by one drawn from all words of the text.
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
    """``copies`` augmented versions of each sentence: all sentences once, then all again.

    Args:
        sentences: words are separated by spaces; every sentence must have one.

    Raises:
        ValueError: if there is no sentence, one has no word, or ``copies`` is not positive.

    Source: Tang et al., Distilling Task-Specific Knowledge from BERT into Simple Neural Networks, 2019 (masking,
    swapping within a part of speech, n-grams).
    """
    check_positive("copies", copies)
    words = [sentence.split() for sentence in sentences]
    if not words or not all(words):
        raise ValueError("sentences must be at least one, and each must have a word")
    changes, rng = changes or Rewriting(), random.Random(seed)
    text = [word for sentence in words for word in sentence]
    rounds = (sentence for _ in range(copies) for sentence in words)
    return [
        " ".join(_replace_words(_splice_and_crop(sentence, words, changes, rng), text, changes, rng))
        for sentence in rounds
    ]


def rewritten_split(split: Split, copies: int = 1, *, changes: Rewriting | None = None, seed: int = 0) -> Split:
    """The sentences of ``split``, augmented and tokenized, as unlabelled transfer text: all labels are zero.

    Raises:
        TestSplitError: if it is the test split.
        ValueError: if it has no texts, or as in ``rewritten``.
    """
    refuse_test(split, "rewritten for a student to learn from")
    texts = rewritten(split.texts, copies, changes=changes, seed=seed)
    labels = torch.zeros(len(texts), dtype=torch.int64)
    return Split(f"{split.dataset}, rewritten", split.name, data.tokenize(texts), labels, split.classes, tuple(texts))


def _splice_and_crop(
    sentence: list[str], others: Sequence[list[str]], changes: Rewriting, rng: random.Random
) -> list[str]:
    """``sentence``, spliced with another one and cropped at random."""
    if rng.random() < changes.splice:
        other = rng.choice(others)
        sentence = sentence[: rng.randint(1, len(sentence))] + other[rng.randint(0, len(other) - 1) :]
    if rng.random() < changes.piece and len(sentence) > 2:
        length = rng.randint(2, len(sentence))
        start = rng.randint(0, len(sentence) - length)
        sentence = sentence[start : start + length]
    return sentence


def _replace_words(sentence: list[str], text: Sequence[str], changes: Rewriting, rng: random.Random) -> list[str]:
    """Each word kept, masked, or swapped."""
    words = []
    for word in sentence:
        draw = rng.random()
        if draw < changes.mask:
            word = MASK
        elif draw < changes.mask + changes.swap:
            word = rng.choice(text)
        words.append(word)
    return words
