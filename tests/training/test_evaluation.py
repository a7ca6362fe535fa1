"""Accuracy per class, its interval, and the order and mode in which a model is evaluated."""

import pytest
import torch
from torch import nn

from course_lib import data, training
from tests.toys import blobs, blobs_mlp


def test_evaluation_counts_right_answers_per_class():
    labels = torch.tensor([0, 0, 0, 1])
    result = training.Evaluation(torch.tensor([0, 0, 1, 1]), labels, 0.5, ("a", "b"))
    assert result.accuracy == 0.75
    assert result.per_class() == {"a": pytest.approx(2 / 3), "b": 1.0}
    low, high = result.interval
    assert 0 < low < 0.75 < high < 1


def test_sentences_are_computed_with_little_padding_and_answered_in_the_order_of_the_split():
    lengths = torch.tensor([9, 2, 7, 2, 5])
    ids = torch.arange(1, 6)[:, None].expand(5, 9)
    tokens = {"input_ids": ids, "attention_mask": (torch.arange(9) < lengths[:, None]).long()}
    shapes = []

    class Echo(nn.Linear):
        def forward(self, input_ids, attention_mask):
            shapes.append(tuple(input_ids.shape))
            return input_ids[:, :1].float().expand(-1, 2)

    logits = training.predict_logits(
        Echo(1, 1), data.Split("lines", "test", tokens, ids[:, 0] % 2, ("a", "b")), batch_size=2
    )
    assert logits[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert shapes == [(2, 2), (2, 7), (1, 9)]


def test_evaluation_keeps_the_mode_of_the_model():
    model = blobs_mlp().train()
    training.evaluate(model, blobs("test"))
    assert model.training


def test_a_frozen_norm_within_a_model_in_train_mode_stays_frozen():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2), nn.Dropout()).train()
    model[0].eval()
    mean = model[0].running_mean.clone()
    training.evaluate(model, blobs())
    training.predict_logits(model, blobs())
    training.fit(model, blobs(), epochs=1, learning_rate=0.0001, progress=False)
    model.train()
    model[0].eval()
    mean = model[0].running_mean.clone()
    training.evaluate(model, blobs("test"))
    assert [module.training for module in model.modules()] == [True, False, True, True]
    assert torch.equal(model[0].running_mean, mean)


def test_logits_that_are_no_tensor_are_refused_with_the_class_of_the_model():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ValueError, match=r"model Pair must return a tensor of logits.*returned a tuple"):
        training.evaluate(Pair(4, 2), blobs())
