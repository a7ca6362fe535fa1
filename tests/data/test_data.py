"""The shipped splits are what the design says, and the test split cannot be learned from."""

from dataclasses import replace

import pytest
import torch

from course_lib import data


@pytest.fixture(scope="module")
def fashion():
    return data.load("fashion_mnist")


@pytest.fixture(scope="module")
def movies():
    return data.load("sentiment")


def tiny(name: str = "train", size: int = 7) -> data.Split:
    images = torch.arange(size * 16, dtype=torch.uint8).reshape(size, 4, 4)
    return data.Split("tiny", name, images, torch.arange(size) % 2, ("a", "b"), upscale=2)


def test_fashion_has_the_promised_sizes_and_balanced_test_classes(fashion):
    assert [len(split) for split in (fashion.train, fashion.validation, fashion.test)] == [20_000, 2_000, 10_000]
    assert torch.bincount(fashion.test.labels).tolist() == [1000] * 10


def test_fashion_splits_share_no_image(fashion):
    def digests(split):
        return {image.numpy().tobytes() for image in split.inputs}

    assert not digests(fashion.train) & digests(fashion.validation)


def test_images_reach_the_model_doubled_and_with_three_channels(fashion):
    images, labels = next(fashion.test.batches(5))
    assert images.shape == (5, 3, 56, 56) and images.dtype == torch.float32
    assert images.min() >= -1 and images.max() <= 1
    assert torch.equal(images[:, 0], images[:, 2])
    assert labels.tolist() == fashion.test.labels[:5].tolist()


@pytest.mark.parametrize("domain", data.SENTIMENT_DOMAINS)
def test_sentiment_sentences_stand_in_one_split_only(domain):
    splits = data.load("sentiment", domain=domain)
    texts = [set(split.texts) for split in (splits.train, splits.validation, splits.test)]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    assert all(set(split.labels.tolist()) == {0, 1} for split in (splits.train, splits.validation, splits.test))


def test_sentence_batches_are_padded_no_further_than_their_longest(movies):
    tokens, _ = next(movies.train.batches(8))
    assert tokens["input_ids"].shape[1] == int(tokens["attention_mask"].sum(dim=1).max())


@pytest.mark.parametrize("options", [{"shuffle": True}, {"augment": True}])
def test_the_test_split_refuses_what_training_does(options):
    with pytest.raises(data.TestSplitError, match=r"splits\.train or splits\.validation"):
        next(tiny("test").batches(**options))


def test_shuffled_batches_hold_every_example_once_and_repeat_with_the_seed():
    def order(seed):
        return torch.cat([images[:, 0, 0, 0] for images, _ in tiny().batches(3, shuffle=True, seed=seed)])

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
    part = tiny("test").subset(3)
    assert part.name == "test" and len(part) == 3
    whole = tiny("test").inputs[:, 0, 0].tolist()
    assert part.inputs[:, 0, 0].tolist() == sorted(part.inputs[:, 0, 0].tolist())
    assert set(part.inputs[:, 0, 0].tolist()) <= set(whole)


def test_augmentation_keeps_shape_and_dtype_and_changes_pictures():
    images = torch.randint(1, 256, (16, 28, 28), dtype=torch.uint8)
    moved = data.augment_images(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape and moved.dtype == torch.uint8
    assert not torch.equal(moved, images)


def test_augmentation_of_zero_pixels_only_flips():
    split = replace(tiny("train"), inputs=torch.randint(0, 256, tiny("train").inputs.shape, dtype=torch.uint8))
    plain, _ = next(split.batches(len(split)))
    only_flips, _ = next(split.batches(len(split), augment=data.Augmentation(shift=0, hole=0), seed=1))
    kept = torch.isclose(only_flips, plain, atol=1e-5).flatten(1).all(dim=1)
    flipped = torch.isclose(only_flips, plain.flip(-1), atol=1e-5).flatten(1).all(dim=1)
    assert (kept | flipped).all() and flipped.any() and kept.any()


def test_true_stands_for_the_default_augmentation():
    first, second = (next(tiny("train").batches(4, augment=how, seed=3))[0] for how in (True, data.Augmentation()))
    assert torch.equal(first, second)


@pytest.mark.parametrize("options", [{"shift": -1}, {"hole": 2.5}, {"shift": True}])
def test_augmentation_refuses_other_than_whole_pixels(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be a whole number of pixels of at least 0, got"):
        data.Augmentation(**options)


def test_augmentation_moves_all_channels_of_an_image_alike():
    grey = torch.randint(0, 256, (4, 1, 12, 12), dtype=torch.uint8)
    moved = data.augment_images(grey.expand(-1, 3, -1, -1), torch.Generator().manual_seed(3))
    assert torch.equal(moved[:, 0], moved[:, 1]) and torch.equal(moved[:, 0], moved[:, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("mnist"), "name must be one of 'fashion_mnist'"),
        (lambda: data.load("sentiment", domain="books"), "domain must be one of 'movies'"),
        (lambda: tiny("holdout"), "name must be one of 'train'"),
        (lambda: tiny().subset(0), "size must be greater than 0, got 0"),
        (lambda: next(tiny().batches(0)), "batch_size must be greater than 0, got 0"),
        (lambda: data.Split("x", "train", torch.zeros(3, 2), torch.zeros(2), ("a",)), "3 examples but labels have 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist_full", "imagenette"])
def test_a_missing_download_says_what_to_do(name, tmp_path):
    with pytest.raises(ConnectionError, match="shipped 'fashion_mnist'"):
        data.load(name, root=tmp_path, download=False)


def fake_torchvision_set(length):
    """Stands for a torchvision data set: same attributes, a handful of made-up images."""

    class Fake:
        classes = ("x", "y")

        def __init__(self, root, train, download, **_):
            self.data = torch.zeros(length if train else 6, 32, 32, 3, dtype=torch.uint8).numpy()
            self.targets = [index % 2 for index in range(len(self.data))]

    return Fake


def test_cifar_comes_as_three_splits_through_the_standard_loader(monkeypatch, tmp_path):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", fake_torchvision_set(40))
    splits = data.load("cifar10", root=tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [38, 2, 6]
    assert splits.test.example(2).shape == (2, 3, 32, 32)


def test_joined_splits_keep_their_examples_and_what_they_are():
    domains = [data.load("sentiment", domain=domain).train.subset(3) for domain in data.SENTIMENT_DOMAINS]
    joined = data.join(domains)
    assert len(joined) == 9 and joined.name == "train" and joined.dataset.count("sentiment/") == 3
    assert joined.texts == domains[0].texts + domains[1].texts + domains[2].texts
    for number, split, row in ((1, domains[0], 1), (8, domains[2], 2)):
        (found, _), (wanted, _) = joined[number], split[row]
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_splits_that_are_not_alike_are_not_joined():
    movies = data.load("sentiment")
    for splits in ([], [movies.train, movies.test], [movies.train, data.load("fashion_mnist").train]):
        with pytest.raises(ValueError, match="splits must be one or more of one name, classes and upscale"):
            data.join(splits)
