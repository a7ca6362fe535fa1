from __future__ import annotations

import copy

import pytest
import torch

from course_lib import pruning, training
from course_lib.data import TestSplitError


def test_the_scan_has_one_row_per_layer_and_sparsity_and_restores_the_weights(model, validation):
    before = copy.deepcopy(model.state_dict())
    frame = pruning.sensitivity_scan(model, validation, [0, 0.5, 0.9], progress=False)
    assert list(zip(frame["layer"], frame["sparsity"], strict=True)) == [
        (layer, value) for layer in ("1", "3", "5") for value in (0, 0.5, 0.9)
    ]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert frame[frame["sparsity"] == 0]["drop"].tolist() == [0.0] * 3


def test_each_row_is_the_accuracy_with_only_that_layer_pruned(model, validation):
    frame = pruning.sensitivity_scan(model, validation, [0.7], layers=["3"], progress=False)
    pruned = pruning.prune_layerwise(model, 0.7, layers=["3"])
    assert frame["accuracy"].item() == training.evaluate(pruned, validation).accuracy
    base = training.evaluate(model, validation).accuracy
    assert frame["drop"].item() == pytest.approx(base - frame["accuracy"].item())


def test_an_interrupted_scan_restores_the_weights(model, validation, monkeypatch):
    before = copy.deepcopy(model.state_dict())
    evaluate, calls = training.evaluate, []

    def interrupt(*arguments, **options):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)

    monkeypatch.setattr(training, "evaluate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pruning.sensitivity_scan(model, validation, [0.5, 0.9], progress=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_test_split_and_bad_arguments_are_refused(model, validation, test_split):
    with pytest.raises(TestSplitError, match="scanned for sensitivity"):
        pruning.sensitivity_scan(model, test_split, progress=False)
    with pytest.raises(ValueError, match="sparsities must lie in"):
        pruning.sensitivity_scan(model, validation, [0.5, 1.0], progress=False)
    with pytest.raises(ValueError, match="layers must be one of"):
        pruning.sensitivity_scan(model, validation, layers=["9"], progress=False)
