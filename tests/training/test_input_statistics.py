"""Output errors from statistics equal those on the inputs; the factor of the inverse Hessian is what it says."""

import pytest
import torch

from course_lib.training.input_statistics import LayerInputs, inverse_factor
from tests.quantization.small_transformers import correlated_rows, statistics


def test_the_output_error_is_the_mean_squared_change_of_the_output():
    torch.manual_seed(0)
    rows, change = torch.randn(50, 8), torch.randn(5, 8)
    inputs = LayerInputs.empty(8)
    inputs.add(rows[:20])
    inputs.add(rows[20:])
    assert inputs.output_error(change) == pytest.approx((rows @ change.T).square().sum(dim=1).mean().item(), rel=1e-4)


def test_the_best_shift_of_the_bias_leaves_the_error_about_the_mean():
    torch.manual_seed(0)
    rows, change = torch.randn(50, 8) + 2, torch.randn(5, 8)
    inputs = LayerInputs.empty(8)
    inputs.add(rows)
    shift = torch.randn(5)
    moved = (rows @ change.T + shift).square().sum(dim=1).mean().item()
    assert inputs.output_error(change, shift) == pytest.approx(moved, rel=1e-4)
    best = inputs.output_error(change, -change @ inputs.mean)
    assert inputs.centred().output_error(change) == pytest.approx(best, rel=1e-3)
    assert best < inputs.output_error(change) and best < moved


def test_the_factor_is_the_upper_cholesky_factor_of_the_damped_inverse():
    hessian = statistics(correlated_rows()).hessian
    upper = inverse_factor(hessian, 0.1).double()
    damped = hessian.double() + 0.1 * hessian.double().diagonal().mean() * torch.eye(32)
    torch.testing.assert_close(upper.T @ upper @ damped, torch.eye(32, dtype=torch.float64), atol=1e-3, rtol=0)
    assert torch.equal(upper, upper.triu())


def test_a_negative_damping_is_refused():
    with pytest.raises(ValueError, match="damping must be at least 0, got -1"):
        inverse_factor(torch.eye(3), -1)
