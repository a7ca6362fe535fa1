"""Layers that round their input: the grid itself, and that a stored model brings its grids back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib import models, storage
from course_lib.architectures import input_quantizers
from course_lib.architectures.input_quantizers import InputGrid

TINY = {"builder": "mlp", "arguments": {"sizes": [6, 5, 3], "input_grids": {"1": [-8, 7], "3": [0, 15]}}}


def test_a_grid_holds_the_multiples_of_its_scale_between_its_ends():
    values = torch.tensor([-9.0, -0.9, -0.25, 0.0, 0.3, 0.75, 1.2, 100.0])
    assert InputGrid(-2, 1, 0.5)(values).tolist() == [-1.0, -1.0, -0.0, 0.0, 0.5, 0.5, 0.5, 0.5]
    assert InputGrid(0, 3, 0.5)(values).tolist() == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.5]
    assert (InputGrid(-128, 127).bits, InputGrid(0, 15).bits, InputGrid(-37, 218).bits) == (8, 4, 8)


def test_the_input_is_left_alone_and_a_copy_has_a_grid_of_its_own():
    layer = nn.Linear(4, 2)
    input_quantizers.add_input_grid(layer, InputGrid(-2, 1, 0.5))
    values = torch.randn(3, 4)
    before = values.clone()
    assert torch.equal(layer(values), nn.functional.linear(InputGrid(-2, 1, 0.5)(before), layer.weight, layer.bias))
    assert torch.equal(values, before)
    twin = copy.deepcopy(layer)
    twin.input_grid.scale.fill_(2.0)
    assert layer.input_grid.scale == 0.5 and not torch.equal(twin(values), layer(values))


def test_a_second_grid_replaces_the_first():
    layer = nn.Linear(4, 2)
    for scale in (0.5, 0.1):
        input_quantizers.add_input_grid(layer, InputGrid(-8, 7, scale))
    values = torch.randn(3, 4)
    expected = nn.functional.linear(InputGrid(-8, 7, 0.1)(values), layer.weight, layer.bias)
    assert torch.equal(layer(values), expected)


def test_a_stored_model_comes_back_with_its_grids(tmp_path):
    torch.manual_seed(0)
    model = models.build(TINY)
    for grid, scale in zip(input_quantizers.input_grids(model).values(), (0.03, 0.1), strict=True):
        grid.scale.fill_(scale)
    again = storage.load(storage.save(model, tmp_path / "grids.safetensors"))
    values = torch.randn(20, 6)
    assert torch.equal(again(values), model(values))
    assert [str(grid) for grid in input_quantizers.input_grids(again).values()] == [
        "InputGrid(-8 … 7)",
        "InputGrid(0 … 15)",
    ]
    plain = models.build({"builder": "mlp", "arguments": {"sizes": [6, 5, 3]}})
    plain.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if "grid" not in name})
    assert not torch.equal(plain(values), model(values))


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ({"nowhere": [0, 15]}, "not a layer"),
        ({"1": [0]}, r"must be \[low, high\]"),
        ({"1": 15}, r"must be \[low, high\]"),
        ({"1": [1, 15]}, "low <= 0 <= high"),
        ({"1": [0, 0]}, "low < high"),
        ({"1": [0, 2.5]}, "must be integers"),
        ({"1": [0, 10**9]}, "must be integers"),
    ],
)
def test_what_is_no_grid_is_refused(ends, message):
    with pytest.raises(ValueError, match=message):
        models.build({"builder": "mlp", "arguments": {"sizes": [6, 5, 3], "input_grids": ends}})


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_is_a_positive_number(scale):
    with pytest.raises(ValueError, match="scale must be a positive"):
        InputGrid(0, 15, scale)


def test_a_single_scale_in_a_vector_is_one_number():
    assert InputGrid(0, 15, torch.tensor([0.5])).scale.shape == ()
    assert InputGrid(0, 15, torch.tensor([0.5, 0.25])).scale.shape == (2,)


def test_a_grid_has_the_mode_of_its_layer():
    layer = nn.Linear(2, 2).eval()
    input_quantizers.add_input_grid(layer, InputGrid(-8, 7, 0.1))
    assert not any(module.training for module in layer.modules())


def test_an_input_that_is_passed_by_name_is_quantized():
    layer = nn.Linear(2, 2)
    input_quantizers.add_input_grid(layer, InputGrid(-8, 7, 0.5))
    values = torch.tensor([[0.6, 99.0]])
    assert torch.equal(layer(input=values), layer(values))
    assert torch.equal(layer(values), nn.functional.linear(torch.tensor([[0.5, 3.5]]), layer.weight, layer.bias))
