"""A model with folded BatchNorm computes the same, is stored, and loads again."""

import copy

import pytest
import torch
from torch import nn

from course_lib import models, storage
from course_lib.architectures.batchnorm_folding import batchnorm_pairs, fold_batchnorm
from tests.toys import small_convolutional


@pytest.fixture
def small():
    return small_convolutional()


def image(count=4):
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_folding_changes_nothing_but_rounding(small):
    before = copy.deepcopy(small.state_dict())
    folded = fold_batchnorm(small)
    assert torch.allclose(folded(image()), small(image()), atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    assert batchnorm_pairs(small) == [["conv", "bn"], ["block.conv1", "block.bn1"], ["block.conv2", "block.bn2"]]


@torch.no_grad()
def test_a_folded_model_comes_back_from_its_file(small, tmp_path):
    folded = fold_batchnorm(small)
    loaded = storage.load(storage.save(folded, tmp_path / "folded.safetensors"))
    assert torch.equal(loaded(image()), folded(image()))
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
