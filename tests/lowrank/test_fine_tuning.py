"""Moments, fine-tuning towards the original, and LoRA."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import lowrank, models, training
from course_lib.data import Split, TestSplitError
from tests.toys import vectors


def test_moments_are_those_of_the_outputs_without_bias(cnn, mlp):
    split = vectors("train")
    outputs = split.inputs @ mlp[1].weight.T
    moments = lowrank.output_moments(mlp, split, ["1"], batch_size=40)
    assert torch.allclose(moments["1"].float(), outputs.T @ outputs / len(split), atol=1e-4)
    images = Split("toy", "train", torch.randn(5, 3, 8, 8), torch.zeros(5).long(), ("a",))
    planes = torch.nn.functional.conv2d(images.inputs, cnn[0].weight, padding=1).movedim(1, -1).reshape(-1, 24)
    found = lowrank.output_moments(cnn, images, ["0"])["0"]
    assert torch.allclose(found.float(), planes.T @ planes / len(planes), atol=1e-4)


def test_padding_does_not_count(bert):
    ids, mask = torch.randint(1, 50, (4, 6)), torch.tensor([[1, 1, 1, 0, 0, 0]] * 3 + [[1] * 6])
    name = "bert.encoder.layer.0.intermediate.dense"
    split = Split("toy", "train", {"input_ids": ids, "attention_mask": mask}, torch.zeros(4).long(), ("a", "b"))
    changed = {"input_ids": torch.where(mask.bool(), ids, 7), "attention_mask": mask}
    other = Split("toy", "train", changed, split.labels, split.classes)
    one, two = (lowrank.output_moments(bert, some, [name])[name] for some in (split, other))
    assert torch.allclose(one, two, atol=1e-5)


def test_unknown_layers_have_no_moments(mlp):
    with pytest.raises(ValueError, match="got '2'"):
        lowrank.output_moments(mlp, vectors("train"), ["2"])


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


def test_lora_changes_nothing_at_first_trains_little_and_merges(mlp, train):
    adapted = lowrank.add_lora(mlp, 2, ["1", "3"], train_also=["5"])
    vectors_in = train.inputs[:5]
    assert torch.equal(adapted(vectors_in), mlp(vectors_in))
    trainable = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
    assert trainable == 2 * (12 + 40) + 2 * (40 + 30) + 30 * 3 + 3
    frozen = adapted[1].base.weight.clone()
    training.fit(adapted, train, epochs=3, learning_rate=1e-2, progress=False)
    assert torch.equal(adapted[1].base.weight, frozen) and adapted[1].B.abs().sum() > 0
    merged = lowrank.merge_lora(adapted)
    assert isinstance(merged[1], nn.Linear) and all(one.requires_grad for one in merged.parameters())
    assert torch.allclose(merged(vectors_in), adapted(vectors_in), atol=1e-5)
    assert lowrank.singular_values(merged[1].weight - mlp[1].weight)[2:].max() < 1e-5


@pytest.mark.parametrize(
    ("rank", "layers", "problem"), [(0, ["1"], "from 1 to 12"), (2, ["2"], "linear"), (2, ["x"], "linear")]
)
def test_lora_refuses_what_it_cannot_adapt(mlp, rank, layers, problem):
    with pytest.raises(ValueError, match=problem):
        lowrank.add_lora(mlp, rank, layers)


def test_lora_names_a_module_that_is_not_there(mlp):
    with pytest.raises(ValueError, match="train_also must name modules of the model, got 'head'"):
        lowrank.add_lora(mlp, 2, ["1"], train_also=["head"])
