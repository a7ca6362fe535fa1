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


def recurrent_macs(kind, gates):
    layer, rows = kind(8, 16, batch_first=True), 2 * 5
    assert profiling.count_macs(layer_output(layer), torch.randn(2, 5, 8)) == rows * gates * 16 * (8 + 16)


def layer_output(layer):
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x)[0]

    return First()


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_multiply_inputs_and_states(kind, gates):
    recurrent_macs(kind, gates)


def test_a_bilinear_layer_uses_each_weight_once_for_each_row():
    layer = nn.Bilinear(4, 5, 6)
    layer.forward = lambda x: nn.functional.bilinear(x, torch.ones(len(x), 5), layer.weight)
    assert profiling.count_macs(layer, torch.randn(3, 4)) == 3 * 4 * 5 * 6


@pytest.mark.parametrize("length", [1, 7])
def test_attention_of_torch_is_counted_without_its_fused_kernels(length):
    hidden, wide = 16, 32
    layer = nn.TransformerEncoderLayer(hidden, 4, wide, batch_first=True)
    linear, attention = 4 * hidden * hidden + 2 * hidden * wide, 2 * length * length * hidden
    assert profiling.count_macs(layer, torch.randn(2, length, hidden)) == 2 * (length * linear + attention)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_vision_transformer_is_counted_by_hand():
    from torchvision.models.vision_transformer import VisionTransformer

    model, tokens, hidden, wide = VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=10), 17, 24, 48
    block = tokens * (4 * hidden * hidden + 2 * hidden * wide) + 2 * tokens * tokens * hidden
    by_hand = 16 * 3 * 8 * 8 * hidden + 2 * block + hidden * 10
    assert profiling.count_macs(model, torch.randn(3, 3, 32, 32)) == 3 * by_hand
    table = profiling.layers(model, torch.randn(3, 3, 32, 32), timed=False)
    assert table.macs.sum() == 3 * by_hand


def test_a_model_that_returns_several_tensors_is_counted():
    class Two(nn.Linear):
        def forward(self, x):
            return {"first": super().forward(x), "second": [x]}

    assert profiling.count_macs(Two(4, 3), torch.randn(2, 4)) == 2 * 4 * 3


def test_layers_with_recomputed_weights_are_counted():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    images = torch.randn(2, 3, 6, 6)
    expected = profiling.count_macs(plain, images)
    torch.nn.utils.parametrizations.weight_norm(plain[0])
    torch.nn.utils.parametrizations.weight_norm(plain[2])
    assert profiling.count_macs(plain, images) == expected == 2 * (4 * 16 * 27 + 128)
    assert profiling.layers(plain, images, timed=False)["macs"].sum() == expected
