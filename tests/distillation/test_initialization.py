"""A BERT student is initialized from the weights of its teacher."""

from __future__ import annotations

import copy

import pytest
import torch

from course_lib import data, distillation
from course_lib.distillation import BertSize
from tests.distillation.conftest import bert, token_split

SAME = BertSize(hidden_size=16, num_layers=4, num_heads=4, intermediate_size=32)


def test_a_student_of_the_same_size_equals_the_teacher(teacher, sentences):
    before = copy.deepcopy(teacher.state_dict())
    student = distillation.bert_student(teacher, SAME)
    inputs = sentences.example(4)
    assert torch.allclose(student(**inputs).logits, teacher(**inputs).logits, atol=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_layers_are_copied_along_the_map(teacher):
    student = distillation.bert_student(teacher, BertSize(16, 2, 4, 32), layers=[0, 2])
    for ours, theirs in zip(student.bert.encoder.layer, (0, 2), strict=True):
        source = teacher.bert.encoder.layer[theirs].state_dict()
        assert all(torch.equal(value, source[name]) for name, value in ours.state_dict().items())


def test_a_narrow_student_starts_nearer_to_the_teacher_than_a_random_one(sentences):
    teacher = bert()
    size = BertSize(8, 4, 2, 32)
    student, random = (
        distillation.bert_student(teacher, size, initialise=way, sentences=sentences) for way in ("teacher", "random")
    )
    inputs = sentences.example(32)
    basis = distillation.main_directions(teacher, 8, sentences)
    wanted = teacher(**inputs, output_hidden_states=True).hidden_states[0] @ basis

    def similarity(model):
        states = model(**inputs, output_hidden_states=True).hidden_states[0]
        return torch.nn.functional.cosine_similarity(states, wanted, dim=-1).mean()

    assert similarity(student) > 0.9 > similarity(random)


def test_main_directions_are_orthonormal_and_the_identity_at_full_width(teacher, sentences):
    basis = distillation.main_directions(teacher, 6, sentences)
    assert torch.allclose(basis.T @ basis, torch.eye(6), atol=1e-5)
    assert torch.equal(distillation.main_directions(teacher, 16), torch.eye(16))
    distillation.main_directions(teacher.train(), 6, sentences)
    assert teacher.training
    with pytest.raises(data.TestSplitError):
        distillation.main_directions(teacher, 6, token_split(8, "test"))


def test_a_factorized_embedding_is_the_best_of_its_rank(teacher):
    student = distillation.bert_student(teacher, BertSize(16, 4, 4, 32, embedding_factor=4))
    words = teacher.bert.embeddings.word_embeddings.weight
    left, values, right = torch.linalg.svd(words, full_matrices=False)
    best = (left[:, :4] * values[:4]) @ right[:4]
    found = student.bert.embeddings.word_embeddings(torch.arange(128)[None])[0]
    assert torch.allclose(found, best, atol=1e-4)


def test_wider_heads_take_the_rows_in_order():
    score = torch.arange(8.0)
    rows, values = distillation.initialization.kept_units(score, score, (4, 2), 8)
    assert rows.tolist() == values.tolist() == list(range(8))


def test_the_strongest_heads_stay_and_the_strongest_units_in_them():
    strength = torch.tensor([1.0, 1, 5, 5, 2, 2, 9, 1])
    rows, values = distillation.initialization.kept_units(strength, strength, (4, 2), 4)
    assert values.tolist() == [2, 3, 6, 7]
    assert rows.tolist() == [2, 3, 6, 7]
    rows, values = distillation.initialization.kept_units(strength, strength, (4, 2), 2)
    assert values.tolist() == [2, 6]
