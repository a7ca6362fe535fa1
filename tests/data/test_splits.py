"""Splits are batched, shuffled, cut and joined; the test split refuses what training does."""

import pytest
import torch

from course_lib import data
from tests.toys import tiny_images


@pytest.fixture(scope="module")
def movies():
    return data.load("sentiment")


def test_sentence_batches_are_padded_no_further_than_their_longest(movies):
    tokens, _ = next(movies.train.batches(8))
    assert tokens["input_ids"].shape[1] == int(tokens["attention_mask"].sum(dim=1).max())


@pytest.mark.parametrize("options", [{"shuffle": True}, {"augment": True}])
def test_the_test_split_refuses_what_training_does(options):
    with pytest.raises(data.TestSplitError, match=r"splits\.train or splits\.validation"):
        next(tiny_images("test").batches(**options))


def test_shuffled_batches_hold_every_example_once_and_repeat_with_the_seed():
    def order(seed):
        return torch.cat([images[:, 0, 0, 0] for images, _ in tiny_images().batches(3, shuffle=True, seed=seed)])

    assert torch.equal(order(1), order(1)) and not torch.equal(order(1), order(2))
    assert torch.equal(order(1).sort().values, order(2).sort().values)


def test_shuffled_sentences_come_once_each_and_with_little_padding(movies):
    part = movies.train.subset(600)
    tokens = [(batch["attention_mask"], labels) for batch, labels in part.batches(32, shuffle=True, seed=1)]
    assert sum(len(labels) for _, labels in tokens) == 600
    assert sum(int(mask.sum()) for mask, _ in tokens) == int(part.inputs["attention_mask"].sum())
    in_plain_order = sum(batch["attention_mask"].numel() for batch, _ in part.batches(32))
    assert sum(mask.numel() for mask, _ in tokens) < 0.75 * in_plain_order


def test_a_subset_keeps_the_name_and_the_order():
    part = tiny_images("test").subset(3)
    assert part.name == "test" and len(part) == 3
    whole = tiny_images("test").inputs[:, 0, 0].tolist()
    assert part.inputs[:, 0, 0].tolist() == sorted(part.inputs[:, 0, 0].tolist())
    assert set(part.inputs[:, 0, 0].tolist()) <= set(whole)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tiny_images("holdout"), "name must be one of 'train'"),
        (lambda: tiny_images().subset(0), "size must be greater than 0, got 0"),
        (lambda: next(tiny_images().batches(0)), "batch_size must be greater than 0, got 0"),
        (lambda: data.Split("x", "train", torch.zeros(3, 2), torch.zeros(2), ("a",)), "3 examples but labels have 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_joined_splits_keep_their_examples_and_what_they_are():
    domains = [data.load("sentiment", domain=domain).train.subset(3) for domain in data.SENTIMENT_DOMAINS]
    joined = data.join(domains)
    assert len(joined) == 9 and joined.name == "train" and joined.dataset.count("sentiment/") == 3
    assert joined.texts == domains[0].texts + domains[1].texts + domains[2].texts
    for number, split, row in ((1, domains[0], 1), (8, domains[2], 2)):
        (found, _), (wanted, _) = joined[number], split[row]
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_splits_of_different_kinds_are_not_joined():
    movies = data.load("sentiment")
    for splits in ([], [movies.train, movies.test], [movies.train, data.load("fashion_mnist").train]):
        with pytest.raises(ValueError, match="splits must be one or more of one name, classes and upscale"):
            data.join(splits)
