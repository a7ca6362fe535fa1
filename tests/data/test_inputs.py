"""Images and tokens as a model takes them: scaled, augmented, joined."""

from dataclasses import replace

import pytest
import torch

from course_lib import data
from tests.toys import tiny_images


def test_images_reach_the_model_doubled_and_with_three_channels():
    test = data.load("fashion_mnist").test
    images, labels = next(test.batches(5))
    assert images.shape == (5, 3, 56, 56) and images.dtype == torch.float32
    assert images.min() >= -1 and images.max() <= 1
    assert torch.equal(images[:, 0], images[:, 2])
    assert labels.tolist() == test.labels[:5].tolist()


def test_augmentation_keeps_shape_and_dtype_and_changes_pictures():
    images = torch.randint(1, 256, (16, 28, 28), dtype=torch.uint8)
    moved = data.augment_images(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape and moved.dtype == torch.uint8
    assert not torch.equal(moved, images)


def test_augmentation_of_zero_pixels_only_flips():
    split = replace(tiny_images(), inputs=torch.randint(0, 256, tiny_images().inputs.shape, dtype=torch.uint8))
    plain, _ = next(split.batches(len(split)))
    only_flips, _ = next(split.batches(len(split), augment=data.Augmentation(shift=0, hole=0), seed=1))
    kept = torch.isclose(only_flips, plain, atol=1e-5).flatten(1).all(dim=1)
    flipped = torch.isclose(only_flips, plain.flip(-1), atol=1e-5).flatten(1).all(dim=1)
    assert (kept | flipped).all() and flipped.any() and kept.any()


def test_true_stands_for_the_default_augmentation():
    first, second = (next(tiny_images().batches(4, augment=how, seed=3))[0] for how in (True, data.Augmentation()))
    assert torch.equal(first, second)


@pytest.mark.parametrize("options", [{"shift": -1}, {"hole": 2.5}, {"shift": True}])
def test_augmentation_refuses_other_than_whole_pixels(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be a whole number of pixels of at least 0, got"):
        data.Augmentation(**options)


def test_augmentation_moves_all_channels_of_an_image_alike():
    grey = torch.randint(0, 256, (4, 1, 12, 12), dtype=torch.uint8)
    moved = data.augment_images(grey.expand(-1, 3, -1, -1), torch.Generator().manual_seed(3))
    assert torch.equal(moved[:, 0], moved[:, 1]) and torch.equal(moved[:, 0], moved[:, 2])


def test_joined_tokens_are_padded_with_zeros_to_the_longest():
    rows = [torch.full((2, length), length) for length in (3, 5, 1)]
    joined = data.join_inputs([{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in rows])["input_ids"]
    assert joined.shape == (6, 5)
    assert joined.sum(dim=1).tolist() == [9, 9, 25, 25, 1, 1]


def test_tokens_and_images_are_not_joined():
    with pytest.raises(ValueError, match="all be tokens or all be images"):
        data.join_inputs([tiny_images().inputs, {"input_ids": torch.ones(2, 3)}])
