"""Uniform grids: hand-worked levels, storable steps, the entropy of levels, files."""

from __future__ import annotations

import math

import pytest
import torch

from course_lib import coding, models, storage


def test_levels_are_the_nearest_multiples():
    weight = torch.tensor([[0.24, -0.26, 1.0], [0.24, -0.26, 1.0]])
    assert coding.quantize_levels(weight, torch.tensor(0.5)).tolist() == [[0, -1, 2]] * 2
    assert coding.quantize_levels(weight, torch.tensor([0.5, 0.1])).tolist() == [[0, -1, 2], [2, -3, 10]]
    assert coding.quantize_levels(torch.tensor(1.2), torch.tensor(0.5)).tolist() == 2


def test_a_step_per_row_of_a_convolution():
    weight = torch.ones(2, 3, 2, 2)
    levels = coding.quantize_levels(weight, torch.tensor([1.0, 0.25]))
    assert levels.shape == weight.shape and levels[0].unique().tolist() == [1] and levels[1].unique().tolist() == [4]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="weight must be finite"):
        coding.quantize_levels(torch.tensor([1.0, bad]), torch.tensor(1.0))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_steps_that_are_not_positive_are_refused(bad):
    with pytest.raises(ValueError, match="steps must be positive"):
        coding.quantize_levels(torch.ones(1), torch.tensor([bad]))


@pytest.mark.parametrize("step", [1.0, 0.1, 3e-3, 7.77, 100.0])
def test_storable_steps_have_few_bits_and_are_close(step):
    (rounded,) = coding.storable_steps(torch.tensor([step])).tolist()
    assert abs(rounded / step - 1) <= 2**-5
    assert rounded == torch.tensor(rounded).half().item()
    mantissa, _ = math.frexp(rounded)
    assert mantissa * 2**5 == int(mantissa * 2**5)


def test_storable_steps_stay_within_the_normal_numbers_of_fp16():
    assert coding.storable_steps(torch.tensor([0.0, 1e9])).tolist() == [2.0**-14, 2.0**15]


def test_entropy_of_levels():
    assert coding.entropy_bits(torch.tensor([0, 0, 1, 1])) == 4
    assert coding.entropy_bits(torch.tensor([[5, 5], [5, 5]])) == 0
    assert coding.entropy_bits(torch.tensor([0, 0, 0, 1])) == pytest.approx(3 * math.log2(4 / 3) + 2)


def test_steps_by_variance_are_proportional_to_the_spread(folded):
    steps = coding.variance_steps(folded, 0.5)
    assert list(steps) == [name for name in folded.state_dict() if name.endswith("weight")]
    for name, step in steps.items():
        assert step.item() == pytest.approx(0.5 * folded.state_dict()[name].std(correction=0).item(), rel=1e-3)


def test_steps_by_fisher_cost_the_same_loss_per_weight_in_every_layer():
    fisher = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([[50.0]])}
    steps = coding.fisher_steps(fisher, 0.2)
    costs = [(fisher[name].mean() * steps[name] ** 2).item() for name in fisher]
    assert costs == pytest.approx([0.04, 0.04], rel=2e-3)


def test_the_error_of_a_fine_grid_is_a_twelfth_of_the_squared_step():
    weight = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    levels = coding.quantize_levels(weight, torch.tensor(0.1))
    assert (weight - levels * 0.1).square().mean().item() == pytest.approx(0.1**2 / 12, rel=0.03)


def test_half_a_step_costs_a_bit_more_for_each_weight():
    weight = torch.randn(50_000, generator=torch.Generator().manual_seed(0))
    bits = [coding.entropy_bits(coding.quantize_levels(weight, torch.tensor(step))) / 50_000 for step in (0.2, 0.1)]
    assert bits[1] - bits[0] == pytest.approx(1, abs=0.02)


def test_a_quantized_copy_is_stored_bit_for_bit(folded, tmp_path):
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    quantized = coding.quantize_uniform(folded, coding.variance_steps(folded, 0.3))
    assert all(torch.equal(before[name], value) for name, value in folded.state_dict().items())
    loaded = storage.load(storage.save(quantized, tmp_path / "coded.safetensors", coder="arithmetic"))
    images = torch.randn(2, 3, 12, 12)
    assert torch.equal(models.forward(loaded, images), models.forward(quantized, images))
    for name, (levels, steps) in coding.levels_of(loaded).items():
        step = steps.float().view(-1, *[1] * (levels.dim() - 1)) if steps.numel() > 1 else steps.float()
        assert torch.equal(levels * step, quantized.state_dict()[name])


def test_a_step_for_no_parameter_is_refused(folded):
    with pytest.raises(ValueError, match="nowhere"):
        coding.quantize_uniform(folded, {"nowhere": torch.tensor(1.0)})


def test_a_constant_layer_costs_next_to_nothing():
    levels = coding.quantize_levels(torch.full((64, 64), 0.7), torch.tensor(0.1))
    assert levels.unique().tolist() == [7] and coding.entropy_bits(levels) == 0
    assert storage.code_length([levels]) < 64 * 64
