"""A folded model computes the same, is stored as it is, and comes back."""

import copy

import pytest
import torch
from torch import nn

from course_lib import models, storage
from course_lib.quantization import batchnorm_pairs, correct_bias, equalize, fold_batchnorm, quantize_weights
from course_lib.quantization.equalization import equalizable_pairs
from course_lib.quantization.ptq import Scheme


def picture(count=4):
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_folding_changes_nothing_but_rounding(small):
    before = copy.deepcopy(small.state_dict())
    folded = fold_batchnorm(small)
    assert torch.allclose(folded(picture()), small(picture()), atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    assert batchnorm_pairs(small) == [["conv", "bn"], ["block.conv1", "block.bn1"], ["block.conv2", "block.bn2"]]


@torch.no_grad()
def test_a_folded_model_comes_back_from_its_file(small, tmp_path):
    folded = fold_batchnorm(small)
    loaded = storage.load(storage.save(folded, tmp_path / "folded.safetensors"))
    assert torch.equal(loaded(picture()), folded(picture()))
    assert models.describe(loaded) == models.describe(folded)


def test_folding_twice_or_without_norms_gives_a_copy(small):
    once = fold_batchnorm(small)
    twice = fold_batchnorm(once)
    assert models.describe(twice) == models.describe(once)
    linear = nn.Sequential(nn.Linear(3, 2))
    assert torch.equal(fold_batchnorm(linear)[0].weight, linear[0].weight)


def test_a_norm_in_another_place_is_refused():
    with pytest.raises(ValueError, match="BatchNorm '1' does not directly follow"):
        fold_batchnorm(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)))
    first = nn.Sequential(nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="BatchNorm '0' does not directly follow"):
        fold_batchnorm(first)


def test_without_scale_and_shift_and_behind_a_linear_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False)).eval()
    model[1].running_mean.normal_()
    x = torch.randn(5, 4)
    assert torch.allclose(fold_batchnorm(model)(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    "folds", [[["conv"]], [["conv", "nowhere"]], [["bn", "conv"]], ["ab"], [["conv", "relu"]], [["block", "bn"]]]
)
def test_a_description_with_impossible_folds_is_refused(folds):
    with pytest.raises(ValueError, match="folds holds"):
        models.build({"builder": "small_convolutional", "arguments": {"classes": 10, "folds": folds}})


@torch.no_grad()
def test_equalized_layers_share_their_ranges_and_compute_the_same(small):
    folded = fold_batchnorm(small)
    uneven = torch.logspace(-2, 2, 8)
    folded.block.conv1.weight.mul_(uneven.view(-1, 1, 1, 1))
    folded.block.conv1.bias.mul_(uneven)
    folded.block.conv2.weight.div_(uneven.view(1, -1, 1, 1))
    balanced = equalize(folded)
    assert equalizable_pairs(folded) == [("block.conv1", "block.conv2")]
    assert torch.allclose(balanced(picture()), folded(picture()), rtol=1e-3, atol=1e-3)
    into = balanced.block.conv1.weight.flatten(1).abs().amax(1)
    out_of = balanced.block.conv2.weight.transpose(0, 1).flatten(1).abs().amax(1)
    assert torch.allclose(into, out_of, rtol=1e-3)
    per_tensor = Scheme(bits=6, granularity="per_tensor")
    errors = [
        (quantize_weights(model, per_tensor)(picture()) - folded(picture())).square().mean()
        for model in (folded, balanced)
    ]
    assert errors[1] < 0.2 * errors[0]


@torch.no_grad()
def test_corrected_biases_bring_the_means_back(small, split):
    folded = fold_batchnorm(small)
    rough = quantize_weights(folded, Scheme(bits=3, granularity="per_tensor"))
    repaired = correct_bias(rough, folded, split)
    x = split.example(len(split))
    shifts = [(model(x) - folded(x)).mean(dim=0).abs().max() for model in (rough, repaired)]
    assert shifts[1] < 1e-4 < shifts[0]
    assert torch.equal(repaired.conv.weight, rough.conv.weight)
