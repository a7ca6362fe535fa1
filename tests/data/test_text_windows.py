"""Token windows are cut from the sentences of their own split."""

import pytest
import torch

from course_lib import data
from course_lib.data import TestSplitError, text_windows


@pytest.fixture(scope="module")
def splits():
    return text_windows.load()


def test_windows_are_cut_from_the_sentences_of_their_own_split(splits):
    assert splits.train.inputs["input_ids"].shape[1] == text_windows.WINDOW
    start = text_windows.tokenizer().token_to_id(text_windows.START)
    texts = data.sentences()
    for name in ("train", "validation", "test"):
        split = getattr(splits, name)
        sentences = sum(len(texts[domain, name]) for domain in data.SENTIMENT_DOMAINS)
        starts = int((split.inputs["input_ids"] == start).sum())
        assert split.name == name and 0.97 * sentences < starts <= sentences
    assert set(splits.test.labels.tolist()) == {0, 1, 2}
    movies = text_windows.domain(splits.test, "movies")
    assert len(movies) == int((splits.test.labels == 0).sum())


def test_the_test_windows_refuse_to_be_shuffled(splits):
    with pytest.raises(TestSplitError):
        next(splits.test.batches(4, shuffle=True))


def test_tokens_give_the_text_back():
    texts = ("An odd, likable film: 10/10!", "naïve café ☕")
    decoded = text_windows.tokenizer().decode(text_windows.token_ids(texts).tolist())
    assert decoded.split() == " ".join(texts).split()


def test_a_window_longer_than_the_text_is_refused():
    with pytest.raises(ValueError, match="length must be at most the number of tokens, 3; got 4"):
        text_windows.windows(torch.arange(3), 4)
