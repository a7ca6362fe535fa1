"""Salient columns stay in fp16."""

from __future__ import annotations

from course_lib import quantization
from tests.quantization.small_transformers import small, tokens


def test_kept_columns_are_not_changed():
    model, split = small("gpt2"), tokens()
    result = quantization.keep_salient(model, split, 2, by="weight", fraction=0.05, group_size=16)
    name, layer = next(iter(quantization.linear_layers(model).items()))
    now = quantization.weight_matrix(quantization.linear_layers(result.model)[name])
    same = (now == quantization.weight_matrix(layer)).all(dim=0)
    assert same.sum() == 2 and same[quantization.weight_matrix(layer).norm(dim=0).topk(2).indices].all()
