"""Deep Compression: shared values of nonzeros, counted bytes by another way, trained centroids."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from course_lib import coding, models, quantization, storage, training
from course_lib.data import TestSplitError
from tests.toys import blobs, blobs_mlp, small_convolutional


@pytest.fixture
def pruned():
    """A small net of which two thirds of the weights are zero."""
    model = small_convolutional()
    for layer in models.prunable_layers(model).values():
        layer.weight.data[torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.66] = 0
    return model


def test_zeros_stay_zero_and_the_rest_takes_few_values(pruned):
    shared = coding.share_weights(pruned, 3, overrides={"fc": 2})
    changed = coding.with_shared_weights(pruned, shared)
    for name, layer in models.prunable_layers(pruned).items():
        weight = changed.get_submodule(name).weight
        assert torch.equal(weight == 0, layer.weight == 0) or 0 in shared[name].codebook.centroids
        assert len(weight[layer.weight != 0].unique()) <= (4 if name == "fc" else 8)
        assert (weight - layer.weight).abs().max() < layer.weight.abs().max()


def test_layers_with_fewer_values_than_the_codebook_keep_them(pruned):
    shared = coding.share_weights(pruned, 12)
    changed = coding.with_shared_weights(pruned, shared)
    assert torch.allclose(changed.fc.weight, pruned.fc.weight, atol=1e-6)


def by_counting(weight, indices, k, gap_bits):
    """Bytes of the indices and gaps of a layer, symbol by symbol through the code words."""
    distances, zeros = [], 0
    filled = []
    values = iter(indices.tolist())
    for one in weight.flatten().tolist():
        if one == 0:
            zeros += 1
            if zeros == 2**gap_bits:
                distances.append(2**gap_bits - 1)
                filled.append(None)
                zeros = 0
        else:
            distances.append(zeros)
            filled.append(next(values))
            zeros = 0
    while filled and filled[-1] is None:  # nothing follows the last nonzero
        filled.pop()
        distances.pop()
    return distances, filled


def test_bytes_are_those_of_the_code_words(pruned):
    shared = coding.share_weights(pruned, 3)
    counted = coding.published_bytes(pruned, shared)
    indices = gaps = tables = codebooks = 0
    for name, weights in shared.items():
        weight, book = pruned.get_submodule(name).weight.detach(), weights.codebook
        k, bits = len(book.centroids), weights.gap_bits
        distances, filled = by_counting(weight, book.indices, k, bits)
        nearest = int(book.centroids.abs().argmin())
        symbols = [nearest if one is None else one for one in filled]
        for listed, size in ((symbols, k), (distances, 2**bits)):
            codes = coding.canonical_codes(
                coding.code_lengths(torch.bincount(torch.tensor(listed), minlength=size).tolist())
            )
            taken = math.ceil(len(coding.encode(listed, codes)) / 8)
            indices, gaps = (indices + taken, gaps) if listed is symbols else (indices, gaps + taken)
        tables += math.ceil(5 * (k + 2**bits) / 8)
        codebooks += 4 * k
    assert (counted.indices, counted.gaps, counted.tables, counted.codebooks) == (indices, gaps, tables, codebooks)
    others = [value for name, value in pruned.state_dict().items() if "conv" not in name and name != "fc.weight"]
    assert counted.rest == 4 * sum(value.numel() for value in others)
    assert counted.total == indices + gaps + tables + codebooks + counted.rest


def test_gaps_of_the_paper_have_8_bits_in_convolutions_and_5_in_linear_layers(pruned):
    shared = coding.share_weights(pruned, 3)
    assert {name: one.gap_bits for name, one in shared.items()} == {
        "conv": 8, "block.conv1": 8, "block.conv2": 8, "fc": 5,
    }  # fmt: skip


def test_trained_centroids_fit_better_and_share_as_before():
    model = blobs_mlp()
    training.fit(model, blobs(), epochs=5, learning_rate=0.05, batch_size=16, progress=False)
    shared = coding.share_weights(model, 1)
    coarse = coding.with_shared_weights(model, shared)
    before = copy.deepcopy(model.state_dict())
    tuned, trained, history = coding.train_centroids(
        model, shared, blobs(), epochs=4, learning_rate=0.05, batch_size=16, progress=False
    )
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    losses = [training.evaluate(one, blobs("validation", 200, 1)).loss for one in (tuned, coarse)]
    assert losses[0] < losses[1] and len(history.train_loss) == 4
    for name, weights in trained.items():
        assert torch.equal(weights.codebook.indices, shared[name].codebook.indices)
        assert torch.equal(weights.values(), tuned.get_submodule(name).weight)
        assert not torch.equal(weights.codebook.centroids, shared[name].codebook.centroids)


def test_a_tuned_model_is_plain_and_can_be_stored(tmp_path):
    model = blobs_mlp()
    tuned, _, _ = coding.train_centroids(
        model, coding.share_weights(model, 2), blobs(), epochs=1, learning_rate=0.01, batch_size=16, progress=False
    )
    loaded = storage.load(storage.save(tuned, tmp_path / "tuned.safetensors"))
    assert all(torch.equal(value, tuned.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert all(parameter.requires_grad for parameter in tuned.parameters())


def test_the_gradient_of_a_centroid_is_summed_over_its_weights():
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    model[0].weight.data = torch.tensor([[1.0, 1.0, 5.0], [5.0, 0.0, 1.0]])
    shared = coding.share_weights(model, 1)
    from course_lib.coding.deep_compression import SharedParametrization

    module = SharedParametrization(shared["0"])
    gradient = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    module(model[0].weight).backward(gradient)
    assert module.centroids.grad.tolist() == [1 + 2 + 32, 4 + 8]


def test_bad_arguments_are_refused(pruned):
    with pytest.raises(ValueError, match="bits of layer 'conv' must lie from 1 to 16, got 0"):
        coding.share_weights(pruned, 0)
    pruned.fc.weight.data.zero_()
    with pytest.raises(ValueError, match="'fc' has no nonzero weight"):
        coding.share_weights(pruned, 3)
    model = blobs_mlp()
    with pytest.raises(TestSplitError):
        coding.train_centroids(model, coding.share_weights(model, 2), blobs("test"), epochs=1, learning_rate=0.1)


def test_folded_models_can_be_shared_too():
    folded = quantization.fold_batchnorm(small_convolutional())
    assert coding.published_bytes(folded, coding.share_weights(folded, 4)).total > 0
