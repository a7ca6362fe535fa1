"""AdaRound: a smaller output error than rounding to nearest, on the same grid, and nothing else changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import data, models, storage
from course_lib.architectures import input_quantizers
from course_lib.quantization import QuantizedTensor, quantize_tensor, quantized_weights
from course_lib.quantization.adaround import adaround, patches, rectified_sigmoid, round_adaptively
from course_lib.quantization.mse_scale import best_weight_params

SMALL = {"iterations": 60, "progress": False}


def images(name: str = "train", examples: int = 32) -> data.Split:
    pixels = torch.randint(0, 256, (examples, 12, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return data.Split("toy", name, pixels, torch.zeros(examples, dtype=torch.long), ("a",))


@models.builder("adaround_test_cnn")
def cnn(groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=groups), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.build({"builder": "adaround_test_cnn", "arguments": {}})


def correlated(entries: int, columns: int) -> torch.Tensor:
    """Inputs that share directions, as those of real layers do."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(entries, entries // 4, generator=generator)
    return basis @ torch.randn(entries // 4, columns, generator=generator)


def error(quantized: QuantizedTensor, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    return (quantized.values() @ inputs - targets).square().mean().item()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_output_error_is_below_that_of_rounding_to_nearest(bits):
    weight = torch.randn(10, 40, generator=torch.Generator().manual_seed(1))
    inputs, params = correlated(40, 500), best_weight_params(weight, bits)
    adaptive = round_adaptively(weight, params, inputs, weight @ inputs)
    assert error(adaptive, inputs, weight @ inputs) < 0.7 * error(
        quantize_tensor(weight, params), inputs, weight @ inputs
    )


def test_every_weight_goes_to_one_of_its_two_neighbours():
    weight = torch.randn(10, 40, generator=torch.Generator().manual_seed(1))
    inputs, params = correlated(40, 500), best_weight_params(weight, 3)
    adaptive = round_adaptively(weight, params, inputs, weight @ inputs)
    low, high = params.range
    steps = weight / params.scale[:, None]
    down, up = steps.floor().clamp(low, high), steps.ceil().clamp(low, high)
    assert ((adaptive.integers == down) | (adaptive.integers == up)).all()
    assert (adaptive.integers != quantize_tensor(weight, params).integers).any()


def test_the_share_reaches_both_ends():
    shares = rectified_sigmoid(torch.tensor([-9.0, 0.0, 9.0]))
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.5, 1.0]))


def test_a_convolution_is_a_matrix_times_its_patches():
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1, dilation=2, bias=False)
    inputs = torch.randn(2, 3, 9, 9)
    outputs = layer(inputs)
    columns = patches(layer, inputs, per_example=10**6)
    products = layer.weight.flatten(1) @ columns
    assert products.shape == (5, outputs.numel() // 5)
    torch.testing.assert_close(products.sort(dim=1).values, outputs.transpose(0, 1).flatten(1).sort(dim=1).values)
    tokens = torch.randn(2, 7, 6)
    assert torch.equal(patches(nn.Linear(6, 4), tokens, per_example=1), tokens.reshape(14, 6).T)


def test_a_model_is_rounded_as_a_copy_and_comes_back_from_its_file(model, tmp_path):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = adaround(model, images(), bits=3, input_bits=8, **SMALL)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert result.report["bits"].tolist() == [8, 3, 8]
    assert [grid.bits for grid in input_quantizers.input_grids(result.model).values()] == [8, 8, 8]
    again = storage.load(storage.save(result.model, tmp_path / "w3a8.safetensors"))
    inputs, _ = next(images().batches())
    assert torch.equal(again(inputs), result.model(inputs))
    torch.testing.assert_close(again(inputs), model(inputs), atol=0.1, rtol=0.1)
    norms = [name for name in before if name.startswith("1.")]
    assert all(torch.equal(result.model.state_dict()[name], before[name]) for name in norms)


def test_inputs_may_stay_in_floating_point_and_layers_have_bits_of_their_own(model):
    result = adaround(model, images(), bits={"0": 4, "3": 2, "7": 5}, input_bits=None, **SMALL)
    assert not input_quantizers.input_grids(result.model)
    assert [quantized.params.bits for quantized in quantized_weights(result.model).values()] == [4, 2, 5]


def test_a_grouped_convolution_and_an_unused_layer_are_rounded_to_nearest():
    torch.manual_seed(0)
    model = cnn(groups=2)
    model[1].spare = nn.Linear(3, 3)
    result = adaround(model, images(), bits=4, edge_bits=None, input_bits=None, **SMALL)
    weights = quantized_weights(result.model)
    assert set(weights) == {"0.weight", "1.spare.weight", "3.weight", "7.weight"}
    nearest = quantize_tensor(model[3].weight, best_weight_params(model[3].weight, 4))
    assert torch.equal(weights["3.weight"].integers, nearest.integers)


def test_bad_calibration_is_said(model):
    with pytest.raises(ValueError, match="empty"):
        adaround(model, images(examples=0), **SMALL)
    broken = torch.full((4, 3, 12, 12), float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        adaround(model, data.Split("toy", "train", broken, torch.zeros(4), ("a",)), **SMALL)


def test_the_test_split_is_refused(model):
    with pytest.raises(data.TestSplitError):
        adaround(model, images("test"), **SMALL)
