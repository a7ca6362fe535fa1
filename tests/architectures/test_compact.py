"""Compact students take the inputs of the large model."""

import pytest
import torch
from torch import nn

from course_lib.architectures.compact import SlimEmbedding, SmallResNet


@pytest.mark.parametrize("shrink", [1, 2])
@pytest.mark.parametrize("depthwise", [False, True])
def test_every_stage_but_the_first_halves_the_image(shrink, depthwise):
    model = SmallResNet((4, 8, 12), (1, 2, 1), shrink=shrink, depthwise=depthwise, num_classes=5).eval()
    maps = model.feature_maps(torch.randn(2, 3, 32, 32))
    assert [tuple(stage.shape[1:]) for stage in maps] == [(4, 8, 8), (8, 4, 4), (12, 2, 2)]
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_depthwise_blocks_have_one_filter_per_channel():
    model = SmallResNet((4, 8), (1, 1), depthwise=True)
    grouped = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert len(grouped) == 4 and all(layer.groups == layer.in_channels for layer in grouped)


def test_tokens_without_a_row_share_the_last_one():
    embedding = SlimEmbedding(vocab_size=5, rows=3, factor=2, hidden_size=4)
    embedding.row_of_token.copy_(torch.tensor([0, 2, 1, 2, 2]))
    states = embedding(torch.tensor([[0, 1, 3, 4]]))
    assert states.shape == (1, 4, 4)
    assert torch.equal(states[0, 1], states[0, 2]) and torch.equal(states[0, 1], states[0, 3])
    assert not torch.equal(states[0, 0], states[0, 1])


def test_every_width_needs_a_depth():
    with pytest.raises(ValueError, match="same length"):
        SmallResNet((4, 8), (1,))
