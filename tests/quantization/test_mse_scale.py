"""Scales with the least squared error: of weights, and of groups with the Hessian of their inputs."""

from __future__ import annotations

import pytest
import torch

from course_lib.quantization import WeightScheme, best_step, clipped_params, fake_quantize


def test_the_best_step_has_the_least_error_and_constants_are_exact():
    values = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    values[0] = 0.7
    steps = best_step(values, -8, 7)[:, None]

    def loss(scale):
        return ((values / scale).round().clamp(-8, 7) * scale - values).square().sum(dim=1)

    assert (loss(steps) <= loss(values.abs().amax(dim=1, keepdim=True) / 7) + 1e-6).all()
    assert best_step(torch.zeros(1, 5), -8, 7) > 0
    for one in (torch.tensor([[-1.0, 0.1]]), torch.tensor([[1.0, -0.1]])):
        assert best_step(one, -128, 127) * 128 >= 0.98, "both ends of the range count"
    with pytest.raises(ValueError, match="NaN"):
        best_step(torch.tensor([[float("nan")]]), -8, 7)
    with pytest.raises(ValueError, match="empty"):
        best_step(torch.zeros(0, 3), -8, 7)


def test_clipping_lowers_the_error_where_there_is_an_outlier():
    torch.manual_seed(0)
    weight = torch.randn(8, 32)
    weight[:, 3] *= 8
    scheme, hessian = WeightScheme(3, 32), torch.eye(32)
    errors = [
        (fake_quantize(weight, params) - weight).square().sum()
        for params in (scheme.params(weight), clipped_params(weight, scheme, hessian))
    ]
    assert errors[1] < 0.9 * errors[0]
