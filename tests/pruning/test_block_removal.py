"""Removed blocks are gone from the model and from its description."""

from __future__ import annotations

import pytest
import torch

from course_lib import models, pruning, storage
from course_lib.architectures.input_quantizers import input_grids
from course_lib.data import Split
from course_lib.pruning import prune_channels
from course_lib.quantization import post_training_quantization


def test_a_removed_block_is_recorded_in_the_stored_description(resnet, bert, tmp_path):
    assert pruning.removable_blocks(resnet) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    small = pruning.remove_blocks(prune_channels(resnet, 0.5).model, ["layer3.1", "layer3.1"])
    assert models.describe(small)["arguments"]["removed"] == ["layer3.1"]
    assert prune_channels(small, 0.5).model.conv1.out_channels == 16
    pixels = torch.randn(1, 3, 32, 32)
    assert torch.equal(storage.load(storage.save(small, tmp_path / "a"))(pixels), small(pixels))
    arguments = models.describe(bert)["arguments"] | {"num_hidden_layers": 3}
    deep = prune_channels(models.build({"builder": "bert", "arguments": arguments}), 0.5).model
    shallow = pruning.remove_blocks(deep, ["bert.encoder.layer.1", "bert.encoder.layer.1"])
    assert len(storage.load(storage.save(shallow, tmp_path / "b")).bert.encoder.layer) == 2
    with pytest.raises(ValueError, match=r"names must be among .*layer1\.0"):
        pruning.remove_blocks(resnet, ["layer2.0"])
    with pytest.raises(ValueError, match="at least one layer"):
        pruning.remove_blocks(bert, ["bert.encoder.layer.0"])


def test_every_removable_block_has_an_importance(resnet, images):
    scores = pruning.block_importance(resnet, images)
    assert list(scores) == pruning.removable_blocks(resnet)


@pytest.mark.parametrize("kind", ["resnet", "bert"])
def test_grids_folds_and_integers_of_the_other_blocks_stay(resnet, bert, images, tmp_path, kind):
    if kind == "resnet":
        model, block, inputs = resnet, "layer1.1", images.example(2)
        quantized = post_training_quantization(model, images).model
    else:
        arguments = models.describe(bert)["arguments"] | {"num_hidden_layers": 3}
        model, block = models.build({"builder": "bert", "arguments": arguments}), "bert.encoder.layer.1"
        inputs = {"input_ids": torch.arange(8).view(2, 4)}
        split = Split("words", "train", inputs, torch.zeros(2, dtype=torch.long), ("a", "b"))
        quantized = post_training_quantization(model, split).model
    small = pruning.remove_blocks(quantized, [block])
    inside = sum(name.startswith(f"{block}.") for name in input_grids(quantized))
    assert inside and len(input_grids(small)) == len(input_grids(quantized)) - inside
    assert len(storage.encodings_of(small)) == len(storage.encodings_of(quantized)) - inside
    loaded = storage.load(storage.save(small, tmp_path / "small.safetensors"))
    with torch.no_grad():
        assert torch.equal(models.forward(loaded, inputs), models.forward(small, inputs))
