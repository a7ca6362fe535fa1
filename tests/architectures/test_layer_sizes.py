"""Models of other widths are plain, small from the start, and come back from a file."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import models, storage
from course_lib.architectures.layer_sizes import layer_like, sizes

BERT = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
}  # fmt: skip
HEAD = {f"bert.encoder.layer.0.attention.self.{name}": [16, 8] for name in ("query", "key", "value")}
NARROW = {
    "layer1.0.conv1": [64, 30], "layer1.0.bn1": [30], "layer1.0.conv2": [30, 64],
}  # fmt: skip


def build(builder: str, **arguments) -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": builder, "arguments": arguments})


def test_a_narrow_resnet_is_plain_torchvision_and_comes_back_from_its_file(tmp_path):
    model = build("resnet18", widths=NARROW, removed=["layer1.1"])
    assert type(model).__module__ == "torchvision.models.resnet"
    assert model.layer1[0].conv1.out_channels == 30 and isinstance(model.layer1[1], nn.Identity)
    again = storage.load(storage.save(model, tmp_path / "narrow.safetensors"))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(images), model(images))


def test_a_bert_with_fewer_heads_knows_how_many_it_has(tmp_path):
    model = build("bert", **BERT, widths=HEAD | {"bert.encoder.layer.0.attention.output.dense": [8, 16]})
    attention = model.bert.encoder.layer[0].attention.self
    assert (attention.num_attention_heads, attention.all_head_size) == (2, 8)
    again = storage.load(storage.save(model, tmp_path / "bert.safetensors"))
    tokens = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    assert torch.equal(models.forward(again, tokens), models.forward(model, tokens))


def test_a_depthwise_layer_keeps_one_filter_for_each_channel():
    layer = layer_like(nn.Conv2d(8, 8, 3, groups=8), [5, 5])
    assert layer.groups == 5 and sizes(layer) == [5, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": {"layer9": [1, 2]}}, "widths names 'layer9'"),
        ({"widths": {"conv1": [3]}}, "2 positive whole numbers"),
        ({"widths": {"conv1": [3, 0]}}, "2 positive whole numbers"),
        ({"widths": {"conv1": [3, 2.5]}}, "2 positive whole numbers"),
        ({"removed": ["conv1"]}, "removed names 'conv1'"),
    ],
)
def test_bad_widths_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build("resnet18", **arguments)


def test_half_a_head_is_refused():
    cut = {name: [16, 6] for name in HEAD}
    with pytest.raises(ValueError, match="multiple of 4 outputs"):
        build("bert", **BERT, widths=cut | {"bert.encoder.layer.0.attention.output.dense": [6, 16]})
