"""Removed blocks are gone from the model and from its description."""

from __future__ import annotations

import pytest
import torch

from course_lib import models, pruning, storage
from course_lib.pruning import prune_channels


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
