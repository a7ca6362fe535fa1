from __future__ import annotations

import copy

import pytest
import torch

from course_lib import data, distillation, models, storage
from course_lib.distillation import BertSize
from tests.distillation.conftest import bert, token_split

SAME = BertSize(hidden_size=16, num_layers=4, num_heads=4, intermediate_size=32)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_default_picture_student_has_a_tenth_of_the_parameters():
    teacher = models.build({"builder": "resnet18", "arguments": {}})
    assert 9.5 < count(teacher) / count(distillation.resnet_student()) < 10.5


@pytest.mark.parametrize(
    "shape", [{}, {"shrink": 2}, {"shrink": 2, "depthwise": True}, {"shrink": 2, "stem_stride": 1}]
)
def test_picture_students_come_back_from_their_file(shape, tmp_path):
    model = distillation.resnet_student([8, 16], [1, 2], **shape)
    images = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    loaded = storage.load(storage.save(model, tmp_path / "student.safetensors"))
    assert torch.equal(loaded(images), model.eval()(images))


def test_depthwise_separable_blocks_are_smaller():
    plain, separable = (distillation.resnet_student([16, 32], [1, 1], depthwise=flag) for flag in (False, True))
    assert count(separable) < count(plain) / 3


@pytest.mark.parametrize("arguments", [{"channels": [8], "blocks": [1, 1]}, {"channels": [], "blocks": []}])
def test_a_picture_student_needs_a_depth_for_every_width(arguments):
    with pytest.raises(ValueError, match="same length"):
        distillation.resnet_student(**arguments)


def test_a_student_of_the_same_size_is_the_teacher(teacher, sentences):
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


def test_a_trimmed_vocabulary_keeps_frequent_words_exactly_and_shares_the_last_row(teacher, sentences, tmp_path):
    tokens = distillation.frequent_tokens([sentences], rows=12)
    assert len(tokens) == 11
    size = BertSize(16, 4, 4, 32, embedding_rows=12)
    student = distillation.bert_student(teacher, size, tokens=tokens)
    embedding, original = student.bert.embeddings.word_embeddings, teacher.bert.embeddings.word_embeddings
    ids = torch.tensor([tokens])
    assert torch.allclose(embedding(ids), original(ids), atol=1e-5)
    dropped = torch.tensor([[60, 61]])
    assert torch.equal(embedding(dropped)[0, 0], embedding(dropped)[0, 1])
    loaded = storage.load(storage.save(student, tmp_path / "slim.safetensors"))
    assert torch.equal(loaded(**sentences.example(2)).logits, student(**sentences.example(2)).logits)


def test_a_factorised_embedding_is_the_best_of_its_rank(teacher):
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


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"hidden_size": 16, "num_heads": 3}, "num_heads must divide hidden_size, got 3 heads for a hidden size of 16"),
        ({"hidden_size": 0, "num_heads": 4}, "hidden_size must be greater than 0"),
        ({"hidden_size": 16, "num_heads": 4, "num_layers": -1}, "num_layers must be greater than 0"),
    ],
)
def test_a_size_that_cannot_be_is_refused(size, message):
    with pytest.raises(ValueError, match=message):
        BertSize(**({"num_layers": 2, "intermediate_size": 32} | size))


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (BertSize(32, 2, 4, 32), "hidden_size"),
        (BertSize(16, 5, 4, 32), "num_layers"),
        (BertSize(16, 2, 4, 64), "inter"),
    ],
)
def test_a_student_larger_than_the_teacher_cannot_start_from_it(teacher, size, name):
    with pytest.raises(ValueError, match=f"{name}.*initialise='random'"):
        distillation.bert_student(teacher, size)
    assert count(distillation.bert_student(teacher, size, initialise="random")) > 0


def test_a_model_without_a_head_is_no_teacher(teacher):
    with pytest.raises(ValueError, match="no logits"):
        distillation.bert_student(teacher.bert, SAME)


def test_too_many_tokens_for_the_rows_are_refused(teacher):
    with pytest.raises(ValueError, match="leave one of the 4 rows"):
        distillation.bert_student(teacher, BertSize(16, 4, 4, 32, embedding_rows=4), tokens=[1, 2, 3, 4])


def test_the_vocabulary_is_not_chosen_on_the_test_split():
    with pytest.raises(data.TestSplitError):
        distillation.frequent_tokens([token_split(8, "test")], rows=10)
