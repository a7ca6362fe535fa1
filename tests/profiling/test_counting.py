"""Parameters, non-zeros and MACs against arithmetic by hand."""

import pytest
import torch
from torch import nn

from course_lib import profiling
from tests.profiling.networks import TOKENS, SmallNet, bert, mlp


def test_parameters_and_nonzeros_are_counted_once():
    model = mlp(4, 4, 4)
    assert profiling.count_parameters(model) == 2 * (16 + 4)
    model[3].weight = model[1].weight
    assert profiling.count_parameters(model) == 16 + 4 + 4
    with torch.no_grad():
        model[1].weight.zero_()
    assert profiling.count_nonzeros(model) == 8


@pytest.mark.parametrize("batch", [1, 5])
def test_macs_of_linear_and_convolution_are_what_arithmetic_gives(batch):
    assert profiling.count_macs(mlp(6, 5, 3), torch.randn(batch, 6)) == batch * (6 * 5 + 5 * 3)
    convolution = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    assert profiling.count_macs(convolution, torch.randn(batch, 4, 10, 10)) == batch * 8 * 25 * (4 // 2) * 9


def test_a_zero_weight_is_still_multiplied():
    model = mlp(6, 5, 3)
    before = profiling.count_macs(model, torch.randn(1, 6))
    nn.init.zeros_(model[1].weight)
    assert profiling.count_macs(model, torch.randn(1, 6)) == before


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_counted_whatever_computes_it(attention):
    length, hidden, wide = 8, 16, 32
    linear = 4 * hidden * hidden + 2 * hidden * wide
    by_hand = 2 * (2 * (length * linear + 2 * length * length * hidden) + hidden * hidden + hidden * 2)
    assert profiling.count_macs(bert(attn_implementation=attention), TOKENS) == by_hand


def test_counting_leaves_mode_and_hooks_as_they_were(fast_roofline):
    model = SmallNet()
    model.norm.eval()
    profiling.count_macs(model, torch.randn(2, 3, 8, 8))
    profiling.layers(model, torch.randn(2, 3, 8, 8))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
