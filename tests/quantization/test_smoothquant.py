"""SmoothQuant: outliers of the activations move into the weights, and input grids are stored."""

from __future__ import annotations

import pytest
import torch

from course_lib import quantization, storage
from course_lib.architectures import input_quantizers
from tests.quantization.small_transformers import small, tokens


def test_smoothing_balances_ranges_and_the_grids_are_in_the_file(tmp_path):
    model, split = small("llama"), tokens()
    result = quantization.smoothquant(model, split, alpha=0.5)
    again = storage.load(result.save(tmp_path / "m.safetensors"))
    assert set(input_quantizers.input_grids(again)) == set(quantization.linear_layers(model))
    largest = quantization.smoothing_factors(torch.tensor([1.0, 100.0]), torch.tensor([1.0, 1.0]), 0.5)
    assert (largest[1] / largest[0]).item() == pytest.approx(10, rel=1e-2)


def test_smoothing_helps_where_one_channel_is_far_larger():
    model, split = small("llama"), tokens()
    for block in model.model.layers:
        for norm in (block.input_layernorm, block.post_attention_layernorm):
            norm.weight.data[3] *= 100
    with torch.no_grad():
        exact = model(**split.inputs).logits
        plain, smooth = (
            (quantization.smoothquant(model, split, alpha=alpha).model(**split.inputs).logits - exact).norm()
            for alpha in (None, 0.5)
        )
    assert smooth < 0.7 * plain
