"""Gradients of the straight-through estimator and of learned step sizes, against their papers."""

from __future__ import annotations

import pytest
import torch

from course_lib.quantization.straight_through import (
    quantize_learned_step,
    quantize_straight_through,
    round_straight_through,
)


def test_rounding_has_a_gradient_of_one():
    values = torch.tensor([-1.4, 0.5, 2.7], requires_grad=True)
    round_straight_through(values).backward(torch.tensor([1.0, 2.0, 3.0]))
    assert round_straight_through(values).tolist() == [-1.0, 0.0, 3.0]
    assert values.grad is not None and values.grad.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("quantize", [quantize_straight_through, quantize_learned_step])
def test_the_gradient_passes_inside_the_range_and_is_zero_outside(quantize):
    values = torch.tensor([-5.0, -1.0, 0.2, 0.9, 7.0], requires_grad=True)
    rounded = quantize(values, torch.tensor(0.5), -2, 1)
    assert rounded.tolist() == [-1.0, -1.0, 0.0, 0.5, 0.5]
    rounded.backward(torch.ones(5))
    assert values.grad is not None and values.grad.tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("shape", [(), (4, 1, 1)])
def test_the_step_size_has_the_gradient_that_autograd_finds_with_straight_through_rounding(shape):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    towards = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    grads = []
    for ours in (True, False):
        v, scale = values.clone().requires_grad_(), torch.full(shape, 0.4, dtype=torch.float64, requires_grad=True)
        steps = (v / scale).clamp(-4, 3)
        result = quantize_learned_step(v, scale, -4, 3, entries=1) if ours else round_straight_through(steps) * scale
        result.backward(towards)
        grads.append((v.grad, scale.grad))
    torch.testing.assert_close(grads[0][0], grads[1][0])
    torch.testing.assert_close(grads[0][1] * 3**0.5, grads[1][1], rtol=1e-5, atol=1e-5)


def test_the_step_size_learns_more_slowly_where_more_entries_share_it():
    values = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    rates = []
    for entries in (16, 64):
        scale = torch.tensor(0.3, requires_grad=True)
        quantize_learned_step(values, scale, -4, 3, entries).sum().backward()
        rates.append(scale.grad)
    torch.testing.assert_close(rates[0], 2 * rates[1])
