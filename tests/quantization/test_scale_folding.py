"""Scales that are folded into the layer before, without a change of the function."""

from __future__ import annotations

import pytest
import torch

from course_lib import quantization
from course_lib.quantization.scale_folding import fold_divisor, previous_layer
from course_lib.training.sequential_calibration import set_weight_matrix
from tests.quantization.small_transformers import KINDS, small, tokens


@pytest.mark.parametrize("kind", KINDS)
def test_folding_moves_the_factors_and_leaves_the_function(kind):
    model, split = small(kind), tokens()
    with torch.no_grad():
        before = model(**split.inputs).logits
        folded = []

        def fold(stage, inputs):
            factors = torch.linspace(0.5, 2, stage.width).half().float()
            if previous_layer(model, stage) is not None:
                assert fold_divisor(model, stage, factors)
                folded.append(next(iter(stage.layers)))
                for layer in stage.layers.values():
                    set_weight_matrix(layer, quantization.weight_matrix(layer) * factors)

        quantization.walk(model, quantization.calibration_batches(split), fold)
        after = model(**split.inputs).logits
    assert len(folded) == {"llama": 8, "opt": 8, "gpt2": 4, "bert": 2}[kind]
    torch.testing.assert_close(after, before, rtol=2e-2, atol=2e-2)


def test_opt_folds_only_through_relu_and_only_where_the_norm_comes_first():
    model = small("opt")
    model.config.activation_function, model.config.do_layer_norm_before = "gelu", False
    found = {}
    quantization.walk(
        model,
        quantization.calibration_batches(tokens()),
        lambda stage, inputs: found.setdefault(
            next(iter(stage.layers)).split(".", 4)[-1], previous_layer(model, stage)
        ),
    )
    assert [name for name, layer in found.items() if layer is not None] == ["self_attn.out_proj"]
