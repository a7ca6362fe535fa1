"""2:4 masks keep the two largest of four weights; a model with reordered channels computes the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import models, pruning, storage


def test_two_of_every_four_neighbours_stay_and_they_are_the_largest():
    weight = torch.tensor([[1.0, -4.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0]])
    assert pruning.two_four_mask(weight).int().tolist() == [[0, 1, 0, 1, 1, 1, 0, 0]]
    for shape in ((6, 12), (5, 8, 3, 3)):
        mask = pruning.two_four_mask(torch.randn(shape))
        assert mask.shape == shape
        assert (mask.movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1) == 2).all()


@pytest.mark.parametrize("shape", [(4, 6), (4,), (4, 3, 3, 3)])
def test_inputs_must_come_in_fours(shape):
    with pytest.raises(ValueError, match="multiple of 4 inputs"):
        pruning.two_four_mask(torch.ones(shape))


def test_the_search_finds_a_permutation_that_spreads_large_weights():
    weight = torch.ones(4, 8) * torch.tensor([9.0, 9, 9, 9, 1, 1, 1, 1])
    order = pruning.search_permutation(weight)
    assert sorted(order.tolist()) == list(range(8))
    assert pruning.retained_magnitude(weight) == pytest.approx(20 / 40)
    assert pruning.retained_magnitude(weight[:, order]) == pytest.approx(36 / 40)
    random = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    better = random[:, pruning.search_permutation(random, passes=5)]
    assert pruning.retained_magnitude(better) > pruning.retained_magnitude(random)


def test_a_model_with_reordered_channels_computes_the_same(bert):
    name = "bert.encoder.layer.0.intermediate.dense"
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    width = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    moved = pruning.permute_channels(bert, {name: order, "bert.embeddings": width})
    tokens = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(models.forward(moved, tokens), models.forward(bert, tokens))
    assert torch.equal(moved.get_submodule(name).bias, bert.get_submodule(name).bias[order])
    with pytest.raises(ValueError, match="order of all 32 channels"):
        pruning.permute_channels(bert, {name: order[:3]})


def test_a_file_with_half_the_weights_costs_little_more_than_half(bert, tmp_path):
    small = pruning.prune_semi_structured(bert)
    assert pruning.sparsity(small) == pytest.approx(0.5)
    layer = "bert.encoder.layer.0.output.dense.weight"
    file = storage.save(small, tmp_path / "a", dtype="fp16")
    record = next(record for record in storage.inspect(file) if record.name == layer)
    assert record.encoding == "bitmask" or bert.state_dict()[layer].numel() < 1000


def test_missing_sparse_tensor_cores_are_reported():
    able, reason = pruning.sparse_tensor_cores()
    if not able:
        assert "file" in reason
        with pytest.raises(RuntimeError, match="smaller file and no speed"):
            pruning.to_sparse_kernels(nn.Linear(64, 64))
