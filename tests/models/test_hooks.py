"""Hooks see what they should, and are removed whatever happens."""

import pytest
import torch
from torch import nn

from course_lib.models.hooks import StopForward, capture_inputs, capture_outputs, forward_hooks, forward_pre_hooks


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def hooks_left(model):
    return [hook for module in model.modules() for hook in (*module._forward_hooks, *module._forward_pre_hooks)]


def test_inputs_and_outputs_of_named_layers_are_captured(model):
    x = torch.randn(5, 3)
    with capture_inputs(model, ["2"]) as inputs, capture_outputs(model, ["", "1"]) as outputs:
        y = model(x)
    assert torch.equal(inputs["2"], model[1](model[0](x))) and torch.equal(inputs["2"], outputs["1"])
    assert outputs[""] is y
    assert hooks_left(model) == []


def test_the_latest_call_counts(model):
    first, second = torch.randn(5, 3), torch.randn(2, 3)
    with capture_inputs(model, ["0"]) as inputs:
        model(first), model(second)
    assert inputs == {"0": second}


def test_the_forward_pass_can_stop_once_every_layer_was_reached(model):
    reached = []
    last = {"2": lambda *_: reached.append("2")}
    with forward_hooks(model, last), capture_inputs(model, ["0", "1"], stop=True) as inputs:
        model(torch.randn(5, 3))
        reached.append("the end")
    assert reached == [] and list(inputs) == ["0", "1"]


@pytest.mark.parametrize("context", [forward_hooks, forward_pre_hooks])
def test_hooks_are_removed_after_an_error(model, context):
    def fail(*_):
        raise StopForward

    with pytest.raises(StopForward), context(model, {"0": print, "1": fail}):
        model(torch.randn(5, 3))
    assert hooks_left(model) == []


@pytest.mark.parametrize("context", [forward_hooks, forward_pre_hooks])
def test_an_unknown_layer_leaves_no_hook_on_the_others(model, context):
    with pytest.raises(AttributeError, match="conv1"), context(model, {"0": print, "conv1": print}):
        pass
    assert hooks_left(model) == []


def test_a_hook_can_replace_an_output_and_an_input(model):
    x = torch.randn(5, 3)
    with forward_pre_hooks(model, {"0": lambda _, inputs: (2 * inputs[0],)}):
        doubled = model(x)
    assert torch.equal(doubled, model(2 * x))
    with forward_hooks(model, {"": lambda _module, _inputs, output: -output}):
        assert torch.equal(model(x), -nn.Sequential(*model)(x))


def test_inputs_that_are_passed_by_name_are_captured():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(input=2 * x)

    model = Named()
    with capture_inputs(model, ["layer"]) as captured:
        model(torch.ones(1, 2))
    assert captured["layer"].tolist() == [[2.0, 2.0]]
