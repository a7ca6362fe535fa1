"""Stages of linear layers, the statistics of their inputs, and the walk through the blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import data
from course_lib.quantization import calibration_batches, layer_inputs, linear_layers, walk
from course_lib.training.sequential_calibration import set_weight_matrix, weight_matrix
from tests.quantization.small_transformers import KINDS, small, tokens

STAGES = {"llama": (3, 1, 2, 1), "opt": (3, 1, 1, 1), "gpt2": (1, 1, 1, 1), "bert": (3, 1, 1, 1)}


def stages(model, batches):
    found = []
    walk(model, batches, lambda stage, inputs: found.append((stage, inputs)))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_share_an_input_are_one_stage_and_every_layer_is_reached_once(kind):
    model = small(kind)
    found = stages(model, calibration_batches(tokens()))
    assert [len(stage.layers) for stage, _ in found] == list(STAGES[kind] * 2)
    names = [name for stage, _ in found for name in stage.layers]
    assert sorted(names) == sorted(linear_layers(model))


@pytest.mark.parametrize("kind", KINDS)
def test_the_sums_are_those_of_the_real_inputs_without_padding(kind):
    model, split = small(kind), tokens()
    name, layer = list(linear_layers(model).items())[-1]
    seen = []
    handle = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        model(**split.inputs)
    handle.remove()
    rows = seen[0].flatten(0, -2)[split.inputs["attention_mask"].flatten().bool()]
    stage, inputs = stages(model, calibration_batches(split, batch_size=5))[-1]
    assert name in stage.layers and inputs.count == len(rows)
    torch.testing.assert_close(inputs.hessian, rows.T @ rows, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(inputs.mean, rows.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(inputs.mean_abs, rows.abs().mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(inputs.max_abs, rows.abs().amax(dim=0), rtol=1e-4, atol=1e-5)


def test_layer_inputs_names_every_layer_and_refuses_test():
    model, split = small("bert"), tokens()
    seen = layer_inputs(model, split)
    assert set(seen) == set(linear_layers(model))
    assert seen["bert.encoder.layer.0.attention.self.query"] is seen["bert.encoder.layer.0.attention.self.key"]
    with pytest.raises(data.TestSplitError):
        layer_inputs(model, tokens(name="test"))


def test_later_layers_see_what_changed_ones_put_out():
    model, batches = small("llama"), calibration_batches(tokens())
    before = [inputs.hessian for _, inputs in stages(model, batches)]
    after = []

    def zero_the_first(stage, inputs):
        after.append(inputs.hessian)
        if len(after) == 1:
            for layer in stage.layers.values():
                set_weight_matrix(layer, torch.zeros_like(weight_matrix(layer)))

    walk(model, batches, zero_the_first)
    assert torch.equal(before[0], after[0])
    assert after[1].abs().max() == 0 and not torch.allclose(before[-1], after[-1])


def test_a_model_without_blocks_is_one_block_and_batches_may_be_tensors():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    rows = torch.randn(40, 6)
    found = stages(model, [rows[:30], rows[30:]])
    assert [list(stage.layers) for stage, _ in found] == [["0"], ["2"]]
    torch.testing.assert_close(found[0][1].hessian, rows.T @ rows)


def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(ValueError, match="Conv2d has no linear layers"):
        linear_layers(nn.Conv2d(3, 3, 3))


def test_inputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN or infinity in the input of a linear layer"):
        stages(nn.Sequential(nn.Linear(2, 2)), [torch.tensor([[1.0, float("nan")]])])


def test_a_layer_that_is_never_reached_is_named():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, values):
            return self.used(values)

    with pytest.raises(ValueError, match="'idle' saw no calibration input"):
        stages(Unused(), [torch.ones(1, 2)])


def test_calibration_takes_neither_the_test_split_nor_an_empty_one():
    with pytest.raises(data.TestSplitError, match="must not be used for calibration"):
        calibration_batches(tokens("test"))
    with pytest.raises(ValueError, match="calibration must hold at least one example"):
        calibration_batches(tokens(count=0))
