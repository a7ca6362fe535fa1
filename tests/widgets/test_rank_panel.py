"""The rank panel of lesson 11 against the functions of ``lowrank``."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import lowrank
from course_lib.widgets import rank_panel
from course_lib.widgets.ranks import DecomposedLayer


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (8, 4, 3, 3), (5, 5)])
def test_the_panel_knows_what_the_library_knows(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    layer = DecomposedLayer.of(weight)
    rows, columns = weight.flatten(1).shape
    assert layer.break_even == lowrank.break_even_rank(rows, columns)
    assert torch.allclose(torch.tensor(layer.energy), lowrank.energy(lowrank.singular_values(weight)), atol=1e-6)
    first, second = lowrank.svd_factors(weight, 3)
    assert layer.factors(3) == first.numel() + second.numel()
    product = (second @ first.flatten(1)).view(shape)
    expected = product.mean(dim=1) if len(shape) == 4 else product[:, None]
    assert torch.allclose(torch.tensor(layer.filters(3, rows)), expected, atol=1e-4)


def test_every_control_moves_the_picture_and_the_numbers():
    torch.manual_seed(0)
    panel = rank_panel(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(64, 10)))
    for name, value in (("rank", 0.5), ("layer", "2"), ("rank", 1.0)):
        before = panel.picture.value + panel.numbers.value
        panel.controls[name].value = value
        assert panel.picture.value + panel.numbers.value != before
    assert "larger" in panel.numbers.value and "break-even: 8" in panel.numbers.value


def test_the_lowest_rank_is_one_and_zeros_can_be_shown():
    panel = rank_panel(torch.zeros(6, 4))
    panel.controls["rank"].value = 0.0
    assert panel.result.rank == 1
    with pytest.raises(ValueError, match="subject must hold weights"):
        rank_panel(nn.ReLU())
