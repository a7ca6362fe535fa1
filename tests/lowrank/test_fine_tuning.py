"""Fine-tuning lowers the loss of a factored model, towards labels or towards the original."""

from __future__ import annotations

import pytest
import torch

from course_lib import lowrank, models, training
from course_lib.data import TestSplitError
from tests.toys import vectors


def test_fine_tuning_helps_and_leaves_the_cut_model(mlp, train, validation):
    training.fit(mlp, train, epochs=20, learning_rate=1e-2, progress=False)
    cut = lowrank.factorize(mlp, {"3": ("svd", 2)})
    before = {name: tensor.clone() for name, tensor in cut.model.state_dict().items()}
    tuned = lowrank.fine_tune(
        cut, train, validation, original=mlp, epochs=12, learning_rate=1e-2, batch_size=16, progress=False
    )
    assert training.evaluate(tuned.model, train).loss < training.evaluate(cut.model, train).loss
    assert len(tuned.history.validation_accuracy) == 12 and tuned.plan == cut.plan
    assert all(torch.equal(before[name], tensor) for name, tensor in cut.model.state_dict().items())
    assert models.describe(tuned.model)["arguments"]["ranks"] == {"3": ["svd", 2]}


def test_fine_tuning_never_sees_the_test_split(mlp, train):
    cut = lowrank.factorize(mlp, {"3": ("svd", 2)})
    with pytest.raises(TestSplitError):
        lowrank.fine_tune(cut, vectors("test"), epochs=1, learning_rate=1e-3)
    with pytest.raises(ValueError, match="must not both be given"):
        lowrank.fine_tune(cut, train, original=mlp, loss=training.cross_entropy(), epochs=1, learning_rate=1e-3)


def test_the_loss_is_smallest_for_the_original_itself(mlp, train):
    inputs, labels = next(train.batches(32))
    loss = lowrank.match_original(mlp, share=1.0)
    assert loss(mlp, inputs, labels).item() == pytest.approx(0, abs=1e-6)
    assert loss(lowrank.factorize(mlp, {"3": ("svd", 2)}).model, inputs, labels) > 0
    with pytest.raises(ValueError, match="temperature"):
        lowrank.match_original(mlp, temperature=0)
