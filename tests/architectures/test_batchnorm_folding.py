"""A model with folded BatchNorm computes the same, is stored, and loads again."""

import copy

import pytest
import torch
from torch import nn

from course_lib import models, quantization, storage
from course_lib.architectures.batchnorm_folding import batchnorm_pairs, fold_batchnorm
from course_lib.data import Split
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


def with_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [nn.ReLU(), nn.BatchNorm2d(3)],
        lambda: [nn.BatchNorm2d(3)],
        lambda: [nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(3)],
        lambda: [nn.Conv2d(3, 5, 3), nn.Linear(6, 6), nn.BatchNorm2d(5)],
        lambda: [nn.Flatten(2), nn.Linear(64, 6), nn.BatchNorm1d(3)],
    ],
)
def test_a_norm_in_another_place_stays(layers):
    torch.manual_seed(0)
    model = with_statistics(nn.Sequential(*layers(), nn.Flatten(), nn.LazyLinear(2)))
    x = torch.randn(2, 3, 8, 8)
    expected = model(x)
    folded = fold_batchnorm(model)
    assert torch.equal(folded(x), expected)
    assert sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in folded.modules()) == 1


def test_densenet_is_folded_where_a_norm_follows_a_convolution():
    model = with_statistics(models.torchvision_classifier("densenet121", 10))
    x = torch.randn(1, 3, 32, 32)
    folded = fold_batchnorm(model)
    assert torch.allclose(folded(x), model(x), atol=1e-4 * model(x).abs().max().item())
    assert isinstance(folded.features.norm0, nn.Identity) and isinstance(folded.features.norm5, nn.BatchNorm2d)


def test_without_scale_and_shift_and_behind_a_linear_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False)).eval()
    model[1].running_mean.normal_()
    x = torch.randn(5, 4)
    assert torch.allclose(fold_batchnorm(model)(x), model(x), atol=1e-5)


def sequences(length: int = 6) -> torch.Tensor:
    return torch.randn(4, length, 6, generator=torch.Generator().manual_seed(2))


def of_rows_or_sequences() -> nn.Module:
    """Linear layers with a ``BatchNorm1d`` between them, for rows ``(B, 6)`` or sequences ``(B, 6, 6)``."""
    torch.manual_seed(0)
    return with_statistics(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)))


@torch.no_grad()
def test_a_norm_over_positions_is_not_folded_into_the_features():
    model = of_rows_or_sequences()
    kept = fold_batchnorm(model, sequences())
    assert batchnorm_pairs(model, sequences()) == [] and torch.equal(kept(sequences()), model(sequences()))
    folded = fold_batchnorm(model)
    rows = sequences()[:, 0]
    assert batchnorm_pairs(model, rows) == batchnorm_pairs(model) == [["0", "1"]]
    assert torch.allclose(folded(rows), model(rows), atol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(4, 6, 6\), of which BatchNorm1d normalizes dimension 1"):
        folded(sequences())


@torch.no_grad()
def test_a_model_of_sequences_is_quantized_with_its_norm(tmp_path, monkeypatch):
    monkeypatch.setitem(models.BUILDERS, "of_rows_or_sequences", of_rows_or_sequences)
    model = models.build({"builder": "of_rows_or_sequences", "arguments": {}})
    split = Split("noise", "train", sequences(), torch.arange(4) % 2, ("a", "b"))
    quantized = quantization.post_training_quantization(model, split).model
    assert isinstance(quantized[1], nn.BatchNorm1d)
    expected = model(sequences())
    assert (quantized(sequences()) - expected).abs().max() < 0.05 * expected.abs().max()
    folded = fold_batchnorm(model)
    loaded = storage.load(storage.save(folded, tmp_path / "folded.safetensors"))
    assert torch.equal(loaded(sequences()[:, 0]), folded(sequences()[:, 0]))
    with pytest.raises(ValueError, match="normalizes dimension 1"):
        loaded(sequences())


def test_folding_keeps_the_dtype():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    model[1].running_mean.normal_()
    model.eval()
    x = torch.randn(5, 4, dtype=torch.float64)
    assert torch.allclose(fold_batchnorm(model)(x), model(x), atol=1e-14)
