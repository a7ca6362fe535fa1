"""Students of every size are built, stored and loaded; impossible sizes are refused."""

from __future__ import annotations

import pytest
import torch

from course_lib import data, distillation, models, storage
from course_lib.distillation import BertSize
from tests.distillation.conftest import token_split

SAME = BertSize(hidden_size=16, num_layers=4, num_heads=4, intermediate_size=32)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_default_image_student_has_a_tenth_of_the_parameters():
    teacher = models.build({"builder": "resnet18", "arguments": {}})
    assert 9.5 < count(teacher) / count(distillation.resnet_student()) < 10.5


@pytest.mark.parametrize(
    "shape", [{}, {"shrink": 2}, {"shrink": 2, "depthwise": True}, {"shrink": 2, "stem_stride": 1}]
)
def test_image_students_come_back_from_their_file(shape, tmp_path):
    model = distillation.resnet_student([8, 16], [1, 2], **shape)
    images = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    loaded = storage.load(storage.save(model, tmp_path / "student.safetensors"))
    assert torch.equal(loaded(images), model.eval()(images))


def test_depthwise_separable_blocks_are_smaller():
    plain, separable = (distillation.resnet_student([16, 32], [1, 1], depthwise=flag) for flag in (False, True))
    assert count(separable) < count(plain) / 3


@pytest.mark.parametrize("arguments", [{"channels": [8], "blocks": [1, 1]}, {"channels": [], "blocks": []}])
def test_an_image_student_needs_a_depth_for_every_width(arguments):
    with pytest.raises(ValueError, match="same length"):
        distillation.resnet_student(**arguments)


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


def test_the_builders_of_students_are_registered():
    assert {"small_resnet", "slim_bert"} <= models.BUILDERS.keys()
