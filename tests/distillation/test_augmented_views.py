"""The target of an augmented image is the teacher's output for the same augmented image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from course_lib import data, distillation, training
from tests.distillation.conftest import image_split, token_split

OPTIONS = {"learning_rate": 0.01, "batch_size": 16, "progress": False}


def test_every_version_is_one_that_augmentation_can_make_and_the_other_way_round():
    image = torch.arange(1, 26, dtype=torch.uint8).reshape(1, 5, 5)
    shown = distillation.views(replace(image_split(1), inputs=image), 1)
    ours = {shown.version(number).inputs.numpy().tobytes() for number in range(len(shown.versions))}
    generator = torch.Generator().manual_seed(0)
    theirs = {data.augment_images(image, generator, shift=1, hole=0).numpy().tobytes() for _ in range(600)}
    assert len(ours) == 18 and ours == theirs


def test_without_a_shift_there_are_two_versions_original_and_flipped(images):
    shown = distillation.views(images, 0)
    assert [shown.version(number).inputs.equal(images.inputs) for number in range(2)] == [True, False]
    assert shown.version(1).inputs.equal(images.inputs.flip(-1))


def test_the_label_is_the_number_of_image_and_version(images):
    shown = distillation.views(images, 1)
    seen = set()
    for batch, numbers in shown.batches(16, shuffle=True, seed=3):
        for image, number in zip(batch, numbers.tolist(), strict=True):
            version, row = divmod(number, len(images))
            expected, label = shown.version(version)[row]
            assert image.equal(expected[0]) and label.item() == images.labels[row]
            seen.add(row)
    assert seen == set(range(len(images)))


def test_targets_belong_to_the_version_that_is_shown(vision_teacher, images):
    shown = distillation.views(images, 1)
    targets = distillation.view_logits(vision_teacher, shown)
    assert targets.shape == (18 * len(images), 2)
    with torch.no_grad():
        for batch, numbers in shown.batches(16, shuffle=True, seed=1):
            assert torch.allclose(vision_teacher.eval()(batch), targets[numbers], atol=1e-5)


def test_a_student_learns_from_views_with_the_true_labels_and_without(vision_teacher, vision_student, images):
    training.fit(vision_teacher, images, epochs=8, **OPTIONS)
    wrong = distillation.views(replace(images, labels=1 - images.labels), 0)
    for alpha, low, high in ((1.0, 0.9, 1.0), (0.0, 0.0, 0.1)):
        recipe = distillation.Recipe(alpha=alpha)
        student = distillation.resnet_student([4, 4], [1, 1], num_classes=2, shrink=2)
        options = OPTIONS | {"learning_rate": 0.05}
        result = distillation.distil(vision_teacher, student, wrong, recipe=recipe, epochs=20, **options)
        assert low <= training.evaluate(result.model, image_split(64, seed=1)).accuracy <= high


def test_other_versions_are_shown_in_the_next_epoch(images):
    shown = distillation.views(images, 1)
    first, second = (torch.cat([numbers for _, numbers in shown.batches(16, seed=seed)]) for seed in (0, 1))
    assert not first.equal(second) and (first % len(images)).equal(second % len(images))


def test_the_test_split_has_no_batches_of_views():
    with pytest.raises(data.TestSplitError, match="many versions"):
        next(distillation.views(image_split(4, "test"), 1).batches(2))


def test_sentences_have_no_views():
    with pytest.raises(ValueError, match=r"images \(uint8\), but split 'train' of toy has none"):
        distillation.views(token_split(4), 1)


def test_targets_have_to_be_those_of_all_versions(vision_teacher, vision_student, images):
    with pytest.raises(ValueError, match="each of the 1152 examples, got 64"):
        shown = distillation.views(images, 1)
        distillation.distil(vision_teacher, vision_student, shown, targets=torch.zeros(64, 2), epochs=1, **OPTIONS)
