"""Channels are removed from the model and from its file, at once or in steps."""

from __future__ import annotations

import torch

from course_lib import models, profiling, pruning, storage
from course_lib.pruning import prune_channels


def test_pruned_channels_are_gone_from_the_file(resnet, tmp_path):
    small = prune_channels(resnet, 0.5).model
    assert type(small) is type(resnet) and small.layer4[1].conv2.weight.shape == (256, 256, 3, 3)
    file = storage.save(small, tmp_path / "small.safetensors")
    assert storage.stored_bytes(file) < 0.27 * 4 * profiling.count_parameters(resnet)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(storage.load(file)(pixels), small(pixels))


def test_pruning_twice_keeps_the_description_right(resnet, tmp_path):
    twice = prune_channels(prune_channels(resnet, 0.5).model, 0.5).model
    assert twice.conv1.out_channels == 16
    again = storage.load(storage.save(twice, tmp_path / "twice.safetensors"))
    assert again.fc.in_features == 128


def test_the_width_of_a_transformer_can_shrink_when_it_is_asked_for(bert, tmp_path):
    small = prune_channels(bert, 0.5, unit="width").model
    assert small.bert.embeddings.LayerNorm.normalized_shape == (8,)
    tokens = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    again = storage.load(storage.save(small, tmp_path / "small.safetensors"))
    assert torch.equal(models.forward(again, tokens), models.forward(small, tokens))


def test_grouping_and_removal_take_less_than_a_second_for_resnet18(resnet):
    import time

    prune_channels(resnet, 0.5)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        prune_channels(resnet, 0.5)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


def test_steps_remove_the_same_fraction_each_and_end_where_they_should(resnet):
    seen = []
    result = pruning.prune_iteratively(
        resnet, {"layer4.0.conv1": 64}, lambda model: seen.append(model.layer4[0].conv1.out_channels), steps=3
    )
    assert seen == [256, 128, 64]
    assert torch.equal(result.model.layer4[0].bn1.bias, resnet.layer4[0].bn1.bias[result.kept["layer4.0.conv1"]])
    assert result.report.set_index("group").loc["layer4.0.conv1", "kept"] == 64
