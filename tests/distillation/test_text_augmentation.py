"""Rewritten sentences are made of the words of the known ones, in a way that a seed repeats."""

from __future__ import annotations

import pytest

from course_lib import data
from course_lib.distillation import Rewriting, rewritten, rewritten_split

SENTENCES = ["a quiet film about rain", "loud , long and dull", "see it twice"]
NOTHING = Rewriting(splice=0, piece=0, mask=0, swap=0)


def test_nothing_changes_without_changes():
    assert rewritten(SENTENCES, 2, changes=NOTHING) == SENTENCES * 2


def test_a_seed_repeats_and_another_differs():
    assert rewritten(SENTENCES, 5, seed=3) == rewritten(SENTENCES, 5, seed=3) != rewritten(SENTENCES, 5, seed=4)


def test_every_word_comes_from_the_sentences():
    known = {word for sentence in SENTENCES for word in sentence.split()} | {"[MASK]"}
    found = rewritten(SENTENCES, 50)
    assert len(found) == 150 and all(sentence and set(sentence.split()) <= known for sentence in found)


def test_a_mask_of_one_hides_every_word():
    assert rewritten(SENTENCES, changes=Rewriting(0, 0, 1, 0))[2] == "[MASK] [MASK] [MASK]"


def test_words_are_hidden_as_often_as_asked():
    words = " ".join(rewritten(SENTENCES, 500, changes=Rewriting(0, 0, 0.2, 0))).split()
    assert words.count("[MASK]") / len(words) == pytest.approx(0.2, abs=0.02)


def test_a_piece_is_a_stretch_of_its_sentence():
    for number, sentence in enumerate(rewritten(SENTENCES, 20, changes=Rewriting(0, 1, 0, 0))):
        assert sentence in SENTENCES[number % 3] and len(sentence.split()) >= 2


def test_a_splice_begins_like_one_sentence_and_ends_like_another():
    starts, ends = ({sentence.split()[place] for sentence in SENTENCES} for place in (0, -1))
    for sentence in rewritten(SENTENCES, 20, changes=Rewriting(1, 0, 0, 0)):
        assert sentence.split()[0] in starts and sentence.split()[-1] in ends


def test_a_rewritten_split_has_tokens_and_hides_its_labels():
    train = data.load("sentiment", domain="movies").train.take(data.load("sentiment").train.labels.nonzero()[:8, 0])
    split = rewritten_split(train, 2)
    assert len(split) == 16 == len(split.inputs["input_ids"]) and split.labels.sum() == 0


def test_the_test_split_is_refused():
    with pytest.raises(data.TestSplitError):
        rewritten_split(data.load("sentiment", domain="movies").test)


@pytest.mark.parametrize("bad", [{"mask": -0.1}, {"splice": 1.5}, {"mask": 0.6, "swap": 0.6}])
def test_probabilities_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=r"mask|splice"):
        Rewriting(**bad)


@pytest.mark.parametrize("sentences", [[], ["fine", "  "]])
def test_a_sentence_without_words_is_refused(sentences):
    with pytest.raises(ValueError, match="each must have a word"):
        rewritten(sentences)
