"""The panel of rates and distortions against the functions of ``coding``."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import coding
from course_lib.widgets import rate_panel
from course_lib.widgets.rate_distortion import CURVE_LAMBDA, SampledLayer

WEIGHT = 0.1 * torch.randn(40, 30, generator=torch.Generator().manual_seed(0))


def test_bits_error_and_levels_are_those_of_the_library():
    panel = rate_panel(WEIGHT, step=0.8, lam=0.15)
    step = 0.8 * WEIGHT.std(correction=0).item()
    expected = coding.rdoq_point(WEIGHT.flatten(), step, 0.15 * step**2)
    assert torch.equal(panel.result.point.levels, expected.levels)
    assert panel.result.point.bits == pytest.approx(expected.bits)
    error = 10 ** (-panel.result.decibels / 10) * WEIGHT.double().square().mean().item()
    assert error == pytest.approx(expected.error, rel=1e-4)


def test_without_lambda_no_weight_moves():
    panel = rate_panel(WEIGHT, lam=0.0)
    assert "moved 0 %" in str(panel) and torch.equal(panel.result.point.levels, panel.result.nearest)
    panel.controls["lam"].value = 0.4
    assert "moved 0 %" not in str(panel)


def test_the_curves_are_of_the_three_quantizers():
    layer = SampledLayer.of("layer", WEIGHT)
    book = coding.k_means(WEIGHT.flatten(), 4, method="density", steps=20)
    assert coding.entropy_bits(book.indices) / WEIGHT.numel() == pytest.approx(layer.curves["k-means"][0][2])
    step = 0.6 * layer.spread
    point = coding.rdoq_point(WEIGHT.flatten(), step, CURVE_LAMBDA * step**2)
    assert any(bits == pytest.approx(point.bits) for bits in layer.curves["RDOQ"][0])
    assert min(layer.curves["RDOQ"][0]) < min(layer.curves["uniform"][0])


def test_every_control_moves_the_picture_and_the_numbers(moves):
    torch.manual_seed(0)
    panel = rate_panel(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(64, 10)))
    for name, value in (("step", 1.5), ("lam", 0.3), ("layer", "2"), ("step", 4.0), ("step", 0.1)):
        assert moves(panel, name, value)


def test_constant_and_zero_weights_can_be_shown():
    assert "0.00 bits" in str(rate_panel(torch.zeros(6, 4)))
    assert rate_panel(torch.ones(6, 4), step=1.0).error is None
    with pytest.raises(ValueError, match="subject must hold weights"):
        rate_panel(nn.ReLU())
