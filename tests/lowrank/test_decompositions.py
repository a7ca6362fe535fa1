"""Factors multiply to the weight, are the best of their rank, and data-aware ones are best on the data."""

from __future__ import annotations

import time

import pytest
import tensorly
import torch
from tensorly.decomposition import parafac
from torch import nn
from torch.nn import functional as F

from course_lib import lowrank


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (6, 5, 3, 3), (40, 2, 3, 3)])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_svd_is_as_good_as_torchs(shape, rank):
    weight = noise(*shape)
    first, second = lowrank.svd_factors(weight, rank)
    assert first.shape == (rank, *shape[1:]) and second.shape == (shape[0], rank)
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    expected = left[:, :rank] * values[:rank] @ right[:rank]
    assert torch.allclose(second @ first.flatten(1), expected, atol=1e-5)
    assert torch.allclose(lowrank.singular_values(weight), values, atol=1e-4)
    assert first.flatten(1).norm() == pytest.approx(second.norm().item(), rel=1e-4)


@pytest.mark.parametrize("kind", ["svd", "tucker"])
def test_with_full_ranks_nothing_is_lost(kind):
    layer = nn.Conv2d(5, 6, 3, padding=1)
    ranks = {"svd": [6], "tucker": [5, 6]}[kind]
    chain = lowrank.factor_layer(layer, kind, ranks)
    images = noise(2, 5, 9, 9)
    assert torch.allclose(chain(images), layer(images), atol=1e-5)
    assert lowrank.relative_error(layer.weight, lowrank.merge(chain)) < 1e-6


@pytest.mark.parametrize(("kind", "ranks"), [("svd", [4]), ("tucker", [3, 4]), ("cp", [6])])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": (1, 0)}, {"dilation": 2, "padding": 2}])
def test_the_chain_computes_what_its_merged_weight_computes(kind, ranks, options):
    layer = nn.Conv2d(5, 6, (3, 2), **options)
    chain = lowrank.factor_layer(layer, kind, ranks)
    images = noise(2, 5, 11, 12)
    expected = F.conv2d(images, lowrank.merge(chain), layer.bias, layer.stride, layer.padding, layer.dilation)
    assert torch.allclose(chain(images), expected, atol=1e-5)


def test_cp_finds_the_terms_that_a_filter_bank_was_made_of():
    out, into, high, wide = noise(8, 2), noise(7, 2, seed=1), noise(3, 2, seed=2), noise(3, 2, seed=3)
    layer = nn.Conv2d(7, 8, 3, bias=False)
    layer.weight.data = torch.einsum("or,ir,hr,wr->oihw", out, into, high, wide)
    assert lowrank.relative_error(layer.weight, lowrank.merge(lowrank.factor_layer(layer, "cp", [2]))) < 0.02


def test_cp_is_as_close_as_that_of_tensorly_after_as_many_sweeps():
    weight = noise(24, 20, 3, 3)
    reduce, vertical, horizontal, expand = lowrank.cp_factors(weight, 30, sweeps=10)
    ours = torch.einsum("or,ri,rh,rw->oihw", expand, reduce, vertical[:, 0, :, 0], horizontal[:, 0, 0])
    with tensorly.backend_context("pytorch", local_threadsafe=True):
        theirs = tensorly.cp_to_tensor(parafac(weight, 30, n_iter_max=10, init="random", random_state=0, tol=0))
    assert lowrank.relative_error(weight, ours) <= lowrank.relative_error(weight, theirs) + 0.01


def test_cp_of_a_large_layer_takes_seconds():
    started = time.perf_counter()
    lowrank.cp_factors(noise(256, 128, 3, 3), 252)
    assert time.perf_counter() - started < 10  # 0.2 s on two free cores; half a minute before


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_cp_of_a_filter_bank_of_zeros_is_zeros(rank):
    factors = lowrank.cp_factors(torch.zeros(6, 5, 3, 3), rank)
    assert all(torch.isfinite(factor).all() for factor in factors) and not factors[-1].any()


def test_more_sweeps_of_tucker_are_not_worse():
    weight = noise(10, 9, 3, 3)
    errors = []
    for sweeps in (0, 5):
        reduce, core, expand = lowrank.tucker_factors(weight, (4, 5), sweeps=sweeps)
        errors.append(lowrank.relative_error(weight, torch.einsum("pahw,ai,op->oihw", core, reduce, expand)))
    assert errors[1] <= errors[0] + 1e-6


def test_data_aware_factors_are_whitened_svd_and_better_on_the_data():
    weight, inputs = (
        noise(10, 16).double(),
        noise(400, 16, seed=1).double() @ torch.diag(torch.linspace(0.05, 3, 16)).double(),
    )
    covariance = inputs.T @ inputs / len(inputs)
    root = torch.linalg.cholesky(covariance)
    left, values, right = torch.linalg.svd(weight @ root, full_matrices=False)
    whitened = (left[:, :4] * values[:4] @ right[:4]) @ torch.linalg.inv(root)
    moment = weight @ covariance @ weight.T
    first, second = lowrank.svd_factors(weight, 4, moment)
    assert torch.allclose((second @ first).double(), whitened, atol=1e-4)
    assert torch.allclose(lowrank.singular_values(weight, moment).double()[:10], values, atol=1e-4)
    plain_first, plain_second = lowrank.svd_factors(weight, 4)
    aware = (inputs @ (weight - (second @ first).double()).T).norm()
    assert aware < (inputs @ (weight - (plain_second @ plain_first).double()).T).norm()


def test_an_embedding_and_a_wide_linear_layer_keep_their_answers():
    words, rows = nn.Embedding(30, 6, padding_idx=0), torch.tensor([[0, 3, 29]])
    chain = lowrank.factor_layer(words, "embedding", [6])
    assert torch.allclose(chain(rows), words(rows), atol=1e-5)
    assert lowrank.merge(chain).shape == words.weight.shape
    wide = nn.Linear(4, 30)
    assert torch.allclose(lowrank.factor_layer(wide, "svd", [4])(noise(3, 4)), wide(noise(3, 4)), atol=1e-5)


def test_weights_in_another_layout_give_the_same_factors():
    weight = noise(4, 5, 3, 3).to(memory_format=torch.channels_last)
    for one, other in zip(lowrank.svd_factors(weight, 2), lowrank.svd_factors(weight.contiguous(), 2), strict=True):
        assert torch.equal(one, other)
    layer = nn.Linear(6, 5)
    layer.weight.data = noise(6, 5).T
    assert lowrank.relative_error(layer.weight, lowrank.merge(lowrank.factor_layer(layer, "svd", [5]))) < 1e-5


def test_zeros_stay_zeros():
    layer = nn.Linear(4, 4)
    layer.weight.data.zero_()
    merged = lowrank.merge(lowrank.factor_layer(layer, "svd", [2]))
    assert torch.equal(merged, torch.zeros(4, 4)) and lowrank.relative_error(layer.weight, merged) == 0


def test_a_moment_is_for_svd_only():
    with pytest.raises(ValueError, match="kind 'svd' only"):
        lowrank.factor_layer(nn.Conv2d(4, 4, 3), "tucker", [2, 2], torch.eye(4))
