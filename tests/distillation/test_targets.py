"""Logits of the teacher are computed once per example, and labelled and unlabelled examples are joined."""

from __future__ import annotations

import pytest
import torch

from course_lib import data, distillation, training
from tests.distillation.conftest import image_split, token_split
from tests.toys import blobs


def test_logits_are_computed_once_for_the_same_weights_and_examples(vision_teacher, images, tmp_path, monkeypatch):
    file, calls = tmp_path / "logits", []

    def constant_logits(_model, split, **_options):
        calls.append(1)
        return torch.full((len(split), 2), float(len(calls)))

    monkeypatch.setattr(training, "predict_logits", constant_logits)
    first = distillation.teacher_logits(vision_teacher, images, cache=file)
    assert torch.equal(distillation.teacher_logits(vision_teacher, images, cache=file), first)
    assert len(calls) == 1
    with torch.no_grad():
        vision_teacher.classifier.bias.add_(1)
    distillation.teacher_logits(vision_teacher, images, cache=file)
    distillation.teacher_logits(vision_teacher, image_split(64, seed=3), cache=file)
    assert len(calls) == 3


def test_sentences_of_other_lengths_are_joined_with_padding():
    both, seen = distillation.joined(token_split(4, length=6), token_split(3, length=9))
    assert both.inputs["input_ids"].shape == (7, 9)
    assert both.inputs["attention_mask"].sum(dim=1).tolist() == [6] * 4 + [9] * 3
    assert seen.tolist() == [True] * 4 + [False] * 3
    assert both.labels[4:].tolist() == [0, 0, 0]


def test_there_are_no_targets_for_the_test_split(vision_teacher):
    with pytest.raises(data.TestSplitError):
        distillation.teacher_logits(vision_teacher, image_split(8, "test"))


def test_a_teacher_that_cannot_be_copied_is_refused_with_the_remedy():
    from torch.nn.utils import prune

    teacher = torch.nn.Sequential(torch.nn.Linear(3, 2)).eval()
    prune.l1_unstructured(teacher[0], "weight", 0.5)
    with pytest.raises(ValueError, match=r"layer '0' recomputes its weight.*prune\.remove"):
        distillation.targets.frozen(teacher)


def test_stored_logits_are_not_those_of_a_network_with_another_setting(tmp_path):
    class Net(torch.nn.Module):
        def __init__(self, power):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.power = torch.nn.Linear(4, 2), power

        def forward(self, x):
            return self.layer(x) ** self.power

    split, file = blobs(), tmp_path / "logits.safetensors"
    first = distillation.teacher_logits(Net(1), split, cache=file)
    other = distillation.teacher_logits(Net(2), split, cache=file)
    assert torch.allclose(other, first**2, atol=1e-5)
    assert torch.equal(distillation.teacher_logits(Net(2), split, cache=file), other)
