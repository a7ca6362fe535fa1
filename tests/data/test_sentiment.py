"""The sentences of each domain stand in one split only."""

import pytest

from course_lib import data


@pytest.mark.parametrize("domain", data.SENTIMENT_DOMAINS)
def test_sentiment_sentences_stand_in_one_split_only(domain):
    splits = data.load("sentiment", domain=domain)
    texts = [set(split.texts) for split in (splits.train, splits.validation, splits.test)]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    assert all(set(split.labels.tolist()) == {0, 1} for split in (splits.train, splits.validation, splits.test))
