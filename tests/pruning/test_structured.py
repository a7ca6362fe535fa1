"""Channels are really gone, the smaller model is plain and storable, and bad requests leave everything as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib import models, profiling, pruning, storage
from course_lib.data import Split, TestSplitError
from course_lib.pruning import couple, keep_best, prune_channels, remove_channels, uniform_counts


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "resnet18", "arguments": {"num_classes": 10}})


@pytest.fixture
def images() -> Split:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (32, 16, 16), generator=generator, dtype=torch.uint8)
    return Split("toy", "train", pictures, torch.arange(32) % 10, tuple("abcdefghij"))


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


def test_grouping_and_surgery_of_resnet18_are_quick(resnet):
    import time

    prune_channels(resnet, 0.5)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        prune_channels(resnet, 0.5)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


def test_the_most_important_channels_stay_in_their_order():
    kept = keep_best({"a": torch.tensor([0.1, 3.0, 1.0, 3.0])}, {"a": 2})
    assert kept["a"].tolist() == [1, 3]
    assert keep_best({"a": torch.ones(4)}, {"a": 2})["a"].tolist() == [0, 1]
    with pytest.raises(ValueError, match="between 1 and 4, got 0"):
        keep_best({"a": torch.ones(4)}, {"a": 0})


@pytest.mark.parametrize("criterion", pruning.CRITERIA)
def test_every_criterion_scores_every_group_with_mean_one(resnet, images, criterion):
    scores = pruning.channel_importance(resnet, criterion, split=images, batches=2, batch_size=8)
    assert set(scores) == set(couple(resnet).prunable())
    assert all(torch.isclose(one.mean(), torch.tensor(1.0), atol=1e-4) for one in scores.values())
    assert all(parameter.grad is None for parameter in resnet.parameters())


def test_criteria_see_what_they_are_named_after():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]))
        model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 3))
    model[0].weight.grad = torch.ones_like(model[0].weight)
    assert pruning.channel_importance(model, "l1")["0"].argsort().tolist()[0] == 2
    assert model[0].weight.grad is not None, "looking at weights leaves gradients alone"
    l2 = pruning.channel_importance(model, "l2")["0"]
    assert l2[1] > l2[0] > l2[2]
    data = Split("toy", "train", torch.tensor([[1.0, 0.0]] * 4), torch.zeros(4).long(), ("a", "b"))
    for criterion in ("taylor", "fisher"):
        assert pruning.channel_importance(model, criterion, split=data, batches=1, batch_size=4)["0"][2] == 0


def test_gradients_are_never_taken_on_the_test_split(model, test_split):
    for criterion in ("taylor", "fisher"):
        with pytest.raises(TestSplitError):
            pruning.channel_importance(model, criterion, split=test_split)
        with pytest.raises(ValueError, match="split must be given"):
            pruning.channel_importance(model, criterion)
    with pytest.raises(ValueError, match="finds no channel"):
        pruning.channel_importance(model, "batchnorm_scale")


def test_the_estimate_of_work_is_exact_and_a_budget_is_kept(resnet, bert):
    pixels = torch.randn(1, 3, 32, 32)
    coupling = couple(resnet)
    work = pruning.WorkEstimate(resnet, pixels, coupling)
    counts = pruning.counts_for_macs(work, coupling.prunable(), 3.7, multiple=8)
    small = prune_channels(resnet, counts, coupling=coupling).model
    assert profiling.count_macs(small, pixels) == round(work(counts))
    assert 3.7 <= work.total / work(counts) < 4.3
    tokens = {name: torch.ones(1, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    half = uniform_counts(couple(bert).prunable(), 0.5)
    estimated = pruning.WorkEstimate(bert, tokens)(half)
    assert profiling.count_macs(prune_channels(bert, half).model, tokens) == round(estimated)


def test_one_threshold_takes_more_from_groups_with_low_scores():
    groups = {name: pruning.Group(name, "filter", 10, ()) for name in "ab"}
    scores = {"a": torch.linspace(0.1, 1, 10), "b": torch.linspace(1.1, 2, 10)}
    assert pruning.global_counts(groups, scores, 0.5) == {"a": 1, "b": 10}


def test_steps_remove_the_same_fraction_each_and_end_where_they_should(resnet):
    seen = []
    result = pruning.prune_iteratively(
        resnet, {"layer4.0.conv1": 64}, lambda model: seen.append(model.layer4[0].conv1.out_channels), steps=3
    )
    assert seen == [256, 128, 64]
    assert torch.equal(result.model.layer4[0].bn1.bias, resnet.layer4[0].bn1.bias[result.kept["layer4.0.conv1"]])
    assert result.report.set_index("group").loc["layer4.0.conv1", "kept"] == 64


def test_a_block_goes_and_the_file_knows(resnet, bert, tmp_path):
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


def test_a_block_matters_as_much_as_the_loss_grows_without_it(resnet, images):
    scores = pruning.block_importance(resnet, images)
    assert list(scores) == pruning.removable_blocks(resnet)


def freeze(model: nn.Module) -> None:
    model.layer1[0].conv1.weight.requires_grad_(False)


def stride(model: nn.Module) -> None:
    weight = model.layer1[0].conv1.weight
    model.layer1[0].conv1.weight = nn.Parameter(weight.detach().transpose(2, 3))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: model.train(), "model is in training mode"),
        (freeze, r"layer1.0.conv1.weight is frozen"),
        (stride, r"layer1.0.conv1.weight is not contiguous"),
    ],
)
def test_a_model_that_is_not_fit_is_refused_and_stays_as_it_was(resnet, spoil, message):
    spoil(resnet)
    before = copy.deepcopy(resnet.state_dict())
    with pytest.raises(ValueError, match=message):
        prune_channels(resnet, 0.5)
    assert all(torch.equal(value, before[name]) for name, value in resnet.state_dict().items())


def test_a_model_in_channels_last_is_pruned_as_any_other(resnet):
    expected = prune_channels(resnet, 0.5).model(torch.ones(1, 3, 32, 32))
    found = prune_channels(resnet.to(memory_format=torch.channels_last), 0.5).model(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"layer1.0.conv1": torch.tensor([]).long()}, "leaves 0 of 64 channels"),
        ({"layer1.0.conv1": torch.tensor([0, 64])}, "indices from 0 to 63"),
        ({"layer1.0.conv1": torch.tensor([1, 1])}, "different indices"),
        ({"layer1.0.conv1": torch.tensor([0.5])}, "whole numbers"),
        ({"layer1.0.conv2": torch.tensor([1])}, "group must be one of"),
        ({"fc": torch.tensor([1])}, "has to stay whole: the answers"),
    ],
)
def test_bad_channels_are_named_and_the_original_is_untouched(resnet, kept, message):
    before = copy.deepcopy(resnet.state_dict())
    with pytest.raises(ValueError, match=message):
        remove_channels(resnet, kept)
    assert all(torch.equal(value, before[name]) for name, value in resnet.state_dict().items())


def test_bad_ratios_are_named(resnet):
    with pytest.raises(ValueError, match="would leave 0 of 64 channels"):
        prune_channels(resnet, 0.001)
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\], got 1.5"):
        prune_channels(resnet, 1.5)
    with pytest.raises(ValueError, match=r"factor must be at most [0-9.]+ with"):
        pruning.counts_for_macs(pruning.WorkEstimate(resnet, torch.randn(1, 3, 32, 32)), couple(resnet).prunable(), 1e6)
    with pytest.raises(ValueError, match="no group of unit 'head'"):
        prune_channels(resnet, 0.5, unit="head")
