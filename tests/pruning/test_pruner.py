from __future__ import annotations

import copy

import pytest
import torch

from course_lib import pruning, storage
from course_lib.pruning import StructuredPruner


def test_strategies_do_not_stack_and_the_model_stays_as_it_was(model, train, validation):
    before = copy.deepcopy(model.state_dict())
    pruner = StructuredPruner(model, sparsity=0.8)
    first = pruner.magnitude_based_pruning()
    pruner.apply_global_pruning(0.5)
    pruner.gradual_pruning(0.1, 0.6, 3, train=train, validation=validation, epochs=1, progress=False)
    second = pruner.magnitude_based_pruning()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    for key, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key])


def test_every_strategy_reaches_the_sparsity_it_was_asked_for(model, train):
    pruner = StructuredPruner(model, sparsity=0.8)
    assert pruner.magnitude_based_pruning().sparsity == pytest.approx(0.8, abs=1e-3)
    assert pruner.apply_global_pruning().sparsity == pytest.approx(0.8)
    assert pruner.apply_global_pruning(sparsity=0.3).sparsity == pytest.approx(0.3)
    gradual = pruner.gradual_pruning(final_sparsity=0.7, train=train, epochs=2, progress=False)
    assert gradual.sparsity == pytest.approx(0.7)
    assert list(gradual.report.columns) == ["layer", "weights", "kept", "sparsity"]


def test_a_pruned_model_is_stored_smaller_and_comes_back_the_same(model, tmp_path):
    pruned = StructuredPruner(model, sparsity=0.9).apply_global_pruning().model
    dense = storage.stored_bytes(storage.save(model, tmp_path / "dense.safetensors"))
    file = storage.save(pruned, tmp_path / "pruned.safetensors", encoding="bitmask")
    assert storage.stored_bytes(file) < dense
    inputs = torch.randn(2, 12)
    assert torch.equal(storage.load(file)(inputs), pruned(inputs))


def test_missing_data_is_explained_and_channels_really_go(model):
    with pytest.raises(ValueError, match="train must be a Split, got None"):
        StructuredPruner(model).gradual_pruning()
    result = StructuredPruner(model, sparsity=0.5).structured_pruning()
    assert [layer.out_features for layer in result.model if hasattr(layer, "out_features")] == [10, 5, 3]
    with pytest.raises(ValueError, match=r"sparsity must lie in \[0, 1\), got 1.2"):
        StructuredPruner(model, sparsity=1.2)


def test_the_room_exports_what_it_names():
    assert all(hasattr(pruning, name) for name in pruning.__all__)
