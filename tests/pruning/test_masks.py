from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from course_lib import models, pruning


def by_sorting(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.abs().flatten().argsort(stable=True)[: round(sparsity * weight.numel())]] = False
    return mask.view(weight.shape)


@pytest.mark.parametrize("shape", [(8, 16), (5, 3, 3, 3), (1,), (0,), (7,)])
@pytest.mark.parametrize("sparsity", [0, 0.1, 0.5, 0.77, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_mask_is_the_one_that_a_stable_sort_gives(shape, sparsity, dtype):
    generator = torch.Generator().manual_seed(1)
    with_ties = torch.randint(-3, 4, shape, generator=generator).to(dtype)
    without = torch.randn(shape, generator=generator).to(dtype)
    for weight in (with_ties, without, torch.zeros(shape, dtype=dtype)):
        mask = pruning.magnitude_mask(weight, sparsity)
        assert mask.dtype == torch.bool and mask.shape == weight.shape
        assert torch.equal(mask, by_sorting(weight, sparsity))


def test_ties_fall_to_the_lower_index():
    assert pruning.magnitude_mask(torch.tensor([1.0, -1.0, 1.0, 1.0]), 0.5).tolist() == [False, False, True, True]


def test_a_transposed_weight_is_masked_in_its_logical_order():
    weight = torch.randn(6, 4).T
    assert torch.equal(pruning.magnitude_mask(weight, 0.4), pruning.magnitude_mask(weight.contiguous(), 0.4))
    filters = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    assert torch.equal(pruning.magnitude_mask(filters, 0.4), pruning.magnitude_mask(filters.contiguous(), 0.4))


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(model, sparsity):
    for function in (pruning.layerwise_masks, pruning.global_masks, pruning.prune_global, pruning.prune_layerwise):
        with pytest.raises(ValueError, match=r"sparsity must lie in \[0, 1\), got"):
            function(model, sparsity)
    with pytest.raises(ValueError, match="sparsity must lie in"):
        pruning.magnitude_mask(torch.ones(3), sparsity)


def test_nan_weights_are_refused_with_the_name_of_their_layer(model):
    model[3].weight.data[2, 1] = float("nan")
    for function in (pruning.layerwise_masks, pruning.global_masks):
        with pytest.raises(ValueError, match="weight of layer '3' must be free of NaN, got 1 NaN in 200 values"):
            function(model, 0.5)
    with pytest.raises(ValueError, match="weight must be free of NaN"):
        pruning.magnitude_mask(torch.tensor([float("nan")]), 0.5)


def test_layerwise_masks_drop_the_same_fraction_of_each_layer(model):
    masks = pruning.layerwise_masks(model, 0.9)
    assert {name: int((~mask).sum()) for name, mask in masks.items()} == {"1": 216, "3": 180, "5": 27}


def test_global_masks_use_one_threshold_and_drop_the_exact_number(model):
    with torch.no_grad():
        model[5].weight.mul_(100)
    masks = pruning.global_masks(model, 0.77)
    dropped = torch.cat([model[int(name)].weight[~mask].abs() for name, mask in masks.items()])
    kept = torch.cat([model[int(name)].weight[mask].abs() for name, mask in masks.items()])
    assert len(dropped) == round(0.77 * 470)
    assert dropped.max() <= kept.min()
    assert masks["5"].all()


def test_global_ties_fall_to_the_earlier_layer(model):
    for name in ("1", "3", "5"):
        nn.init.ones_(model[int(name)].weight)
    masks = pruning.global_masks(model, 0.6)
    assert [int((~mask).sum()) for mask in masks.values()] == [240, 42, 0]
    assert not masks["3"].flatten()[:42].any()


def test_pruning_returns_a_copy_and_leaves_the_original_alone(model):
    before = copy.deepcopy(model.state_dict())
    for function in (pruning.prune_global, pruning.prune_layerwise):
        pruned = function(model, 0.9)
        assert pruning.sparsity(pruned) == pytest.approx(0.9)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert pruned.state_dict().keys() == before.keys()
        assert models.describe(pruned) == models.describe(model)


def test_masks_leave_neither_hooks_nor_buffers_nor_negative_zeros(model):
    model[1].weight.data[0, 0] = float("inf")
    masks = {"1": torch.zeros(20, 12, dtype=torch.bool)}
    pruning.apply_masks(model, masks)
    assert not torch.signbit(model[1].weight).any() and not model[1].weight.any()
    assert not model[1]._forward_pre_hooks and not list(model.buffers())
    assert isinstance(model[1].weight, nn.Parameter)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (
            {"1": torch.ones(12, 20, dtype=torch.bool)},
            r"masks\['1'\] must be boolean of shape \(20, 12\), got .*12",
        ),
        ({"1": torch.ones(20, 12)}, "must be boolean .*float32"),
        ({"9": torch.ones(2, 2, dtype=torch.bool)}, "layers must be one of '1', '3', '5'; got '9'"),
    ],
)
def test_masks_that_do_not_fit_are_refused_and_nothing_is_written(model, masks, message):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        pruning.apply_masks(model, {"3": torch.zeros(10, 20, dtype=torch.bool), **masks})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_layers_can_be_named(model):
    pruned = pruning.prune_global(model, 0.5, layers=["3"])
    assert pruning.sparsity_table(pruned)["sparsity"].tolist() == [0.0, 0.5, 0.0]
    assert pruning.sparsity(pruned, ["3"]) == 0.5
    with pytest.raises(ValueError, match="layers must be one of '1', '3', '5'; got '0'"):
        pruning.prune_global(model, 0.5, layers=["0"])
    with pytest.raises(ValueError, match="layers must name at least one"):
        pruning.global_masks(model, 0.5, layers=[])


def test_a_model_without_anything_to_prune_says_so():
    with pytest.raises(ValueError, match="ReLU has no convolution or linear layer to prune"):
        pruning.global_masks(nn.ReLU(), 0.5)


def test_a_shared_weight_counts_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert list(pruning.layer_weights(model)) == ["0"]
    assert pruning.sparsity(pruning.prune_global(model, 0.5)) == 0.5


def test_embeddings_are_pruned_only_when_named(bert):
    embeddings = pruning.embedding_layers(bert)
    assert "bert.embeddings.word_embeddings" in embeddings
    assert not set(embeddings) & set(pruning.global_masks(bert, 0.5))
    everything = [*models.prunable_layers(bert), *embeddings]
    pruned = pruning.prune_global(bert, 0.5, layers=everything)
    assert pruning.sparsity(pruned, everything) == pytest.approx(0.5, abs=1e-3)
    assert pruning.sparsity(pruned, embeddings) > 0


def test_nonzero_masks_are_the_masks_of_a_pruned_model(model):
    masks = pruning.global_masks(model, 0.8)
    found = pruning.nonzero_masks(pruning.pruned_copy(model, masks))
    assert all(torch.equal(mask, found[name]) for name, mask in masks.items())


def test_make_permanent_halves_the_state_and_skips_what_was_never_pruned(model):
    prune.l1_unstructured(model[1], "weight", amount=0.5)
    prune.random_unstructured(model[1], "weight", amount=0.5)
    logits = model(torch.ones(1, 12))
    assert pruning.make_permanent(model) == ["1"]
    assert "1.weight" in model.state_dict() and "1.weight_mask" not in model.state_dict()
    assert torch.equal(model(torch.ones(1, 12)), logits)
    assert pruning.make_permanent(model) == []


def test_two_parameters_over_one_memory_are_both_pruned():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(model[0].weight.data)  # not tied: a copy of the model gives each its own memory
    pruned = pruning.prune_layerwise(model, 0.5)
    assert [int((layer.weight == 0).sum()) for layer in pruned] == [8, 8]
    assert pruning.sparsity(pruned) == 0.5
