"""Integers in, integers out: the same as the fake-quantized graph, within one step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.quantization import (
    choose_params,
    dequantize,
    fake_quantize,
    integer_layer,
    quantize,
    quantize_tensor,
    requantization,
    requantize,
    weight_params,
)
from course_lib.quantization.integer import quantize_bias


def params_for(values, bits=8, symmetric=False):
    return choose_params(values.min(), values.max(), bits, symmetric)


def layers():
    torch.manual_seed(0)
    return {
        "linear": (nn.Linear(32, 20), torch.randn(16, 32)),
        "linear without bias": (nn.Linear(32, 20, bias=False), torch.randn(16, 32)),
        "convolution": (nn.Conv2d(4, 8, 3, padding=1), torch.randn(2, 4, 9, 7)),
        "stride": (nn.Conv2d(3, 6, 5, stride=2, padding=2), torch.randn(2, 3, 11, 11)),
        "pointwise": (nn.Conv2d(6, 4, 1, bias=False), torch.relu(torch.randn(2, 6, 5, 5))),
    }


@torch.no_grad()
@pytest.mark.parametrize("kind", layers())
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
@pytest.mark.parametrize(("weight_bits", "activation_bits", "symmetric"), [(8, 8, False), (4, 8, True), (2, 4, False)])
def test_integers_agree_with_the_fake_quantized_graph_within_one_step(
    kind, granularity, weight_bits, activation_bits, symmetric
):
    layer, x = layers()[kind]
    inputs = params_for(x, activation_bits, symmetric)
    weight = quantize_tensor(layer.weight, weight_params(layer.weight, weight_bits, granularity))
    layer.weight.copy_(weight.values())
    simulated = layer(fake_quantize(x, inputs))
    outputs = params_for(simulated, activation_bits, symmetric)
    integers = integer_layer(layer, weight, inputs, outputs)(quantize(x, inputs))
    expected = quantize(simulated, outputs)
    assert integers.dtype == expected.dtype and integers.shape == expected.shape
    assert (integers.int() - expected.int()).abs().max() <= 1
    # they differ only where the bias, rounded to an integer, or a tie decides; few bits make its steps wide
    assert (integers != expected).float().mean() < (0.02 if weight_bits > 2 else 0.1)
    assert torch.allclose(dequantize(integers, outputs), simulated, atol=1.01 * outputs.scale.item())


@torch.no_grad()
def test_sums_are_int32_and_exact():
    layer = nn.Linear(1000, 3)
    x = torch.full((1, 1000), 255.0)
    inputs = choose_params(torch.tensor(0.0), torch.tensor(255.0), 8, symmetric=False)
    weight = quantize_tensor(torch.full((3, 1000), 127.0), weight_params(torch.full((3, 1000), 127.0), 8))
    layer.weight.fill_(127.0)
    layer.bias.fill_(5.0)
    outputs = choose_params(torch.tensor(0.0), torch.tensor(4e7), 8, symmetric=False)
    sums = integer_layer(layer, weight, inputs, outputs).accumulate(quantize(x, inputs))
    assert sums.dtype == torch.int32
    assert sums.tolist() == [[255 * 127 * 1000 + 5] * 3]


@settings(max_examples=60, deadline=None)
@given(factor=st.floats(1e-6, 0.999), value=st.integers(-(2**31) + 1, 2**31 - 1))
def test_multiplier_and_shift_stand_for_the_factor(factor, value):
    multiplier, shift = requantization(torch.tensor([factor], dtype=torch.float64))
    assert multiplier.item() <= 2**31
    assert multiplier.item() / 2 ** shift.item() == pytest.approx(factor, rel=2**-30)
    result = requantize(torch.tensor([value]), multiplier, shift).item()
    assert abs(result - value * factor) <= 0.5 + abs(value) * factor * 2**-30 + 1e-6


@pytest.mark.parametrize("factor", [0.0, -0.5, float("nan"), float("inf"), 2.0**40, 1e-30])
def test_a_factor_that_is_no_shift_is_refused(factor):
    with pytest.raises(ValueError, match="a factor"):
        requantization(torch.tensor([factor], dtype=torch.float64))


def test_what_cannot_be_one_sum_is_refused():
    layer = nn.Linear(16, 4)
    one = params_for(torch.tensor([-1.0, 1.0]))
    for how in ({"symmetric": False}, {"granularity": "group", "group_size": 8}):
        weight = quantize_tensor(layer.weight.detach(), weight_params(layer.weight, 8, **how))
        with pytest.raises(ValueError, match="weight must be symmetric with one scale"):
            integer_layer(layer, weight, one, one)
    grouped = nn.Conv2d(4, 4, 3, groups=2)
    weight = quantize_tensor(grouped.weight.detach(), weight_params(grouped.weight, 8))
    with pytest.raises(ValueError, match="convolution has groups=2"):
        integer_layer(grouped, weight, one, one)
    with pytest.raises(ValueError, match="does not fit into 32 bits"):
        quantize_bias(torch.tensor([1e9]), torch.tensor([1e-9]))
