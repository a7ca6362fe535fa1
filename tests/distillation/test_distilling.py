"""A student is trained on logits and hidden states of a teacher, with and without labels."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from course_lib import data, distillation, training
from course_lib.distillation import BertSize, Recipe
from tests.distillation.conftest import bert, image_split, token_split

FAST = {"learning_rate": 0.05, "batch_size": 16, "progress": False}


OPTIONS = {"learning_rate": 0.01, "batch_size": 16, "progress": False}


def test_a_student_learns_from_the_teacher_and_not_from_wrong_labels(vision_teacher, vision_student, images):
    training.fit(vision_teacher, images, epochs=8, **OPTIONS)
    wrong = replace(images, labels=1 - images.labels)
    result = distillation.distil(vision_teacher, vision_student, wrong, recipe=Recipe(alpha=1.0), epochs=16, **FAST)
    assert training.evaluate(result.model, image_split(64, seed=1)).accuracy > 0.9
    assert result.model is vision_student
    assert (result.examples, result.labelled) == (64, 64)


def test_without_labels_only_the_transfer_examples_are_used(vision_teacher, vision_student, images):
    training.fit(vision_teacher, images, epochs=8, **OPTIONS)
    transfer = replace(images, labels=torch.full_like(images.labels, 99))
    result = distillation.distil(vision_teacher, vision_student, None, transfer=transfer, epochs=16, **FAST)
    assert training.evaluate(result.model, image_split(64, seed=1)).accuracy > 0.9
    assert (result.examples, result.labelled) == (64, 0)


def test_the_same_examples_can_be_given_with_and_without_their_labels(vision_teacher, vision_student, images):
    result = distillation.distil(vision_teacher, vision_student, images, transfer=images, epochs=1, **OPTIONS)
    assert (result.examples, result.labelled) == (2 * len(images), len(images))


def test_labels_of_transfer_examples_change_nothing(vision_teacher, vision_student, images):
    weights = []
    for label in (0, 1):
        student = copy.deepcopy(vision_student)
        transfer = replace(image_split(32, seed=5), labels=torch.full((32,), label))
        distillation.distil(vision_teacher, student, images, transfer=transfer, epochs=1, **OPTIONS)
        weights.append(student.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_teacher_in_training_mode_causes_a_warning_and_is_unchanged(vision_student, images):
    teacher = distillation.resnet_student([8, 8], [1, 1], num_classes=2, shrink=2).train()
    before = copy.deepcopy(teacher.state_dict())
    with pytest.warns(UserWarning, match="training mode") as caught:
        distillation.distil(teacher, vision_student, images, epochs=1, **OPTIONS)
    assert len([one for one in caught if "training mode" in str(one.message)]) == 1
    assert teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_hidden_states_are_matched_through_a_projection_that_is_trained_and_discarded(teacher, sentences):
    student = distillation.bert_student(teacher, BertSize(8, 2, 2, 16), sentences=sentences)
    names = set(student.state_dict())
    made = []
    original = distillation.distilling.Projection

    class Watched(original):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(copy.deepcopy(self.state_dict()))
            Watched.last = self

    distillation.distilling.Projection = Watched
    try:
        recipe = Recipe(alpha=0.5, hidden=1.0)
        result = distillation.distil(teacher, student, sentences, recipe=recipe, epochs=2, **OPTIONS)
    finally:
        distillation.distilling.Projection = original
    assert len(made) == 1
    assert any(not torch.equal(value, made[0][name]) for name, value in Watched.last.state_dict().items())
    assert set(result.model.state_dict()) == names


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_matching_hidden_states_reduces_their_distance(teacher, sentences, kind):
    student = distillation.bert_student(teacher, BertSize(16, 2, 4, 32), initialise="random")

    def distance():
        inputs = sentences.example(32)
        ours, theirs = (
            distillation.hidden_states(model.eval()(**inputs, output_hidden_states=True))[-1]
            for model in (student, teacher)
        )
        return distillation.hidden_state_loss(ours, theirs, kind=kind).item()

    before = distance()
    recipe = Recipe(hidden=10.0, hidden_kind=kind)
    distillation.distil(teacher, student, sentences, recipe=recipe, epochs=6, **OPTIONS)
    assert distance() < 0.8 * before


def test_an_interrupted_run_resumes_to_the_same_student(vision_teacher, vision_student, images, tmp_path):
    other = copy.deepcopy(vision_student)
    whole = distillation.distil(vision_teacher, vision_student, images, epochs=4, **OPTIONS).model.state_dict()

    def interrupt(_model, step, _total):
        if step == 9:
            raise KeyboardInterrupt

    options = {**OPTIONS, "checkpoint": tmp_path / "run"}
    first = distillation.distil(vision_teacher, other, images, epochs=4, after_step=interrupt, **options)
    assert first.history.interrupted
    resumed = distillation.distil(vision_teacher, other, images, epochs=4, **options).model.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_training_stops_early_on_validation(vision_teacher, vision_student, images):
    options = {**OPTIONS, "learning_rate": 1e-9, "patience": 2, "keep_best": True}
    result = distillation.distil(
        vision_teacher, vision_student, images, image_split(20, "validation"), epochs=30, **options
    )
    assert len(result.history.validation_accuracy) == 3


EMPTY = replace(image_split(4), inputs=torch.zeros(0, 8, 8), labels=torch.zeros(0).long())


BAD = {
    "no examples": ({"train": None}, "nothing to learn from"),
    "an empty split": ({"train": EMPTY}, "nothing to learn"),
    "images and tokens": ({"transfer": token_split(4)}, "all be tokens or all be images"),
    "targets of another length": ({"targets": torch.zeros(3, 2)}, "one row for each of the 64 examples, got 3"),
    "targets of other classes": ({"targets": torch.zeros(64, 5)}, "same classes, got 2 and 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_learned_from_is_refused(case, vision_teacher, vision_student, images):
    changes, message = BAD[case]
    arguments = {"train": images, **changes}
    with pytest.raises(ValueError, match=message):
        distillation.distil(vision_teacher, vision_student, arguments.pop("train"), epochs=1, **arguments, **OPTIONS)


@pytest.mark.parametrize("role", ["train", "transfer", "validation"])
def test_the_test_split_is_refused_in_every_role(role, vision_teacher, vision_student, images):
    arguments = {"train": images, role: image_split(8, "test")}
    with pytest.raises(data.TestSplitError):
        distillation.distil(vision_teacher, vision_student, arguments.pop("train"), epochs=1, **arguments, **OPTIONS)


def test_models_of_different_class_counts_are_refused(vision_teacher, images):
    student = distillation.resnet_student([4], [1], num_classes=3, shrink=2)
    with pytest.raises(ValueError, match="same classes, got 3 and 2"):
        distillation.distil(vision_teacher, student, images, epochs=1, **OPTIONS)


def test_models_with_different_vocabularies_are_refused(teacher, sentences):
    with pytest.raises(ValueError, match="vocabulary of the teacher has 128 entries and that of the student 64"):
        distillation.distil(teacher, bert(vocab_size=64), sentences, epochs=1, **OPTIONS)


def test_a_model_without_logits_is_refused_as_student_and_as_teacher(teacher, sentences):
    with pytest.raises(ValueError, match="student's output has no logits"):
        distillation.distil(teacher, bert().bert, sentences, epochs=1, **OPTIONS)
    with pytest.raises(ValueError, match="teacher's output has no logits"):
        distillation.distil(teacher.bert, bert(), sentences, epochs=1, **OPTIONS)


def test_hidden_states_of_image_models_are_refused(vision_teacher, vision_student, images):
    with pytest.raises(ValueError, match="hidden states are matched between transformers"):
        distillation.distil(vision_teacher, vision_student, images, recipe=Recipe(hidden=1.0), epochs=1, **OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "temperature must be greater than 0"),
        ({"temperature": -2}, "temperature must be greater than 0"),
        ({"alpha": 1.5}, "alpha must lie in"),
        ({"alpha": -0.1}, "alpha must lie in"),
        ({"hidden": -1.0}, "hidden must be at least 0"),
        ({"hidden_kind": "l1"}, "hidden_kind must be one of"),
    ],
)
def test_a_recipe_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**arguments)
