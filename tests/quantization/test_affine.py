"""Scale, zero-point, rounding and clamping; who shares a scale; what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.quantization import (
    QuantParams,
    choose_params,
    dequantize,
    fake_quantize,
    integer_range,
    quantize,
    quantize_tensor,
    weight_params,
)

LAYOUTS = [("per_tensor", None), ("per_channel", None), ("group", 8)]


def weight(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def params_of(scale, zero_point=0, bits=8, symmetric=True):
    return QuantParams(torch.tensor([float(scale)]), torch.tensor([zero_point]), bits, symmetric)


def test_ranges_are_those_of_two_s_complement_and_of_unsigned_integers():
    assert integer_range(8, True) == (-128, 127)
    assert integer_range(8, False) == (0, 255)
    assert integer_range(2, True) == (-2, 1)
    assert integer_range(3, False) == (0, 7)


@pytest.mark.parametrize("bits", [0, 1, 9, 16, 4.0, "8", True, None])
def test_bits_outside_2_to_8_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits must be an integer from 2 to 8, got"):
        integer_range(bits, True)
    with pytest.raises(ValueError, match="bits must be"):
        weight_params(weight(4, 4), bits)


def test_halves_go_to_the_even_integer():
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantize(x, params_of(1)).tolist() == [0, 2, 2, 0, -2]


def test_what_is_out_of_range_is_clamped():
    x = torch.tensor([-1e6, -129.0, 127.6, 1e6])
    assert quantize(x, params_of(1)).tolist() == [-128, -128, 127, 127]
    assert quantize(x, params_of(1, zero_point=100, symmetric=False)).tolist() == [0, 0, 228, 255]


def test_a_worked_example_of_an_asymmetric_range():
    params = choose_params(torch.tensor(-1.0), torch.tensor(3.0), 8, symmetric=False)
    assert params.scale.item() == pytest.approx(4 / 255)
    assert params.zero_point.item() == 64
    assert quantize(torch.tensor([-1.0, 0.0, 3.0]), params).tolist() == [0, 64, 255]
    assert fake_quantize(torch.tensor([0.0]), params).item() == 0.0


@pytest.mark.parametrize(("low", "high"), [(2.0, 3.0), (-3.0, -2.0), (0.0, 0.0)])
def test_zero_is_always_represented_exactly(low, high):
    params = choose_params(torch.tensor(low), torch.tensor(high), 4, symmetric=False)
    assert fake_quantize(torch.zeros(1), params).item() == 0.0
    assert fake_quantize(torch.tensor([low]), params).item() == pytest.approx(low, abs=params.scale.item() / 2)


@pytest.mark.parametrize(("granularity", "group_size"), LAYOUTS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shape", [(6, 16), (4, 8, 3, 3), (5, 8)])
def test_the_error_is_at_most_half_a_step(shape, symmetric, granularity, group_size):
    w = weight(*shape)
    params = weight_params(w, 5, granularity, group_size=group_size, symmetric=symmetric)
    step = params.unblock(params.scale[:, None].expand(params.blocks(w).shape), w.shape)
    # an asymmetric zero-point is rounded as well, so the ends of the range may lie half a step further out
    assert ((fake_quantize(w, params) - w).abs() <= step * (0.5001 if symmetric else 1.0001)).all()
    assert quantize(w, params).dtype == (torch.int8 if symmetric else torch.uint8)


def test_blocks_are_the_channels_and_the_runs_of_inputs():
    w = torch.arange(12.0).reshape(2, 6)
    per_group = weight_params(w, 8, "group", group_size=3)
    assert per_group.blocks(w).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert per_group.scale * 127 == pytest.approx([2, 5, 8, 11])
    assert weight_params(w, 8).scale * 127 == pytest.approx([5, 11])
    assert weight_params(w, 8, "per_tensor").scale * 127 == pytest.approx([11])


def test_channels_may_lie_along_another_axis():
    w = weight(6, 16)
    turned = weight_params(w.T, 4, "group", group_size=8, axis=1)
    assert torch.equal(quantize(w.T, turned).T, quantize(w, weight_params(w, 4, "group", group_size=8)))
    assert turned.unblock(turned.blocks(w.T), w.T.shape).is_contiguous()


def test_finer_scales_never_make_the_error_larger():
    w = weight(16, 64) * torch.linspace(0.1, 3, 16)[:, None]
    errors = [
        (fake_quantize(w, weight_params(w, 4, granularity, group_size=group)) - w).square().mean()
        for granularity, group in LAYOUTS
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(("granularity", "group_size"), LAYOUTS)
def test_a_constant_tensor_comes_back(granularity, group_size):
    for value in (0.0, 0.7, -0.7, 1e-42, 3e38):
        w = torch.full((4, 8), value)
        for symmetric in (True, False):
            params = weight_params(w, 8, granularity, group_size=group_size, symmetric=symmetric)
            assert fake_quantize(w, params) == pytest.approx(w, rel=0.01, abs=1e-37)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused(bad):
    w = weight(4, 8)
    w[1, 2] = bad
    with pytest.raises(ValueError, match="weight holds NaN or infinity in 1 of 32 entries"):
        weight_params(w, 8)
    with pytest.raises(ValueError, match="x holds NaN or infinity"):
        quantize(w, params_of(1))
    with pytest.raises(ValueError, match="range to quantize holds NaN"):
        choose_params(torch.tensor(0.0), torch.tensor(bad), 8)


def test_empty_tensors_have_no_range_but_can_pass_through():
    with pytest.raises(ValueError, match=r"weight is empty \(shape \(0, 8\)\)"):
        weight_params(torch.empty(0, 8), 8)
    assert quantize(torch.empty(0, 8), params_of(1)).shape == (0, 8)


@pytest.mark.parametrize("group_size", [5, 0, -8, 17, 8.0])
def test_a_group_that_does_not_divide_is_refused(group_size):
    with pytest.raises(ValueError, match="group_size must be a divisor of the 16 inputs of a channel"):
        weight_params(weight(4, 16), 4, "group", group_size=group_size)


def test_group_size_and_granularity_belong_together():
    with pytest.raises(ValueError, match="belongs to granularity 'group' only; got 8 with 'per_channel'"):
        weight_params(weight(4, 16), 4, "per_channel", group_size=8)
    with pytest.raises(ValueError, match="belongs to granularity 'group' only; got None"):
        weight_params(weight(4, 16), 4, "group")
    with pytest.raises(ValueError, match="granularity must be one of"):
        weight_params(weight(4, 16), 4, "per_row")


def test_a_range_that_is_upside_down_is_refused():
    with pytest.raises(ValueError, match="low must not exceed high"):
        choose_params(torch.tensor(1.0), torch.tensor(0.0), 8)


def test_scales_for_16_bits_are_used_as_they_are_stored():
    w = weight(6, 16)
    params = weight_params(w, 4, scale_dtype="fp16")
    assert torch.equal(params.scale.half().float(), params.scale)
    with pytest.raises(ValueError, match="cannot be stored"):
        weight_params(w * 1e9, 4, scale_dtype="fp16")
    assert torch.equal(fake_quantize(w * 1e-12, weight_params(w * 1e-12, 4, scale_dtype="fp16")), torch.zeros(6, 16))


@settings(max_examples=50, deadline=None)
@given(
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20),
)
def test_quantizing_what_is_quantized_changes_nothing(bits, symmetric, values):
    x = torch.tensor(values)
    params = choose_params(x.min(), x.max(), bits, symmetric)
    once = quantize_tensor(x, params)
    qmin, qmax = params.range
    assert qmin <= int(once.integers.min()) and int(once.integers.max()) <= qmax
    assert torch.equal(quantize(once.values(), params), once.integers)
    assert torch.equal(dequantize(once.integers, params), once.values())
