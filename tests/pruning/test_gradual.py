from __future__ import annotations

import copy

import pytest
import torch

from course_lib import models, pruning, training
from course_lib.data import Split, TestSplitError

OPTIONS = {"learning_rate": 0.01, "batch_size": 16, "progress": False, "seed": 1}


def test_the_result_has_exactly_the_final_sparsity_and_the_original_is_unchanged(model, train, validation):
    before = copy.deepcopy(model.state_dict())
    result = pruning.prune_gradually(model, train, validation, final_sparsity=0.9, epochs=4, **OPTIONS)
    assert sum(int((~mask).sum()) for mask in result.masks.values()) == round(0.9 * 470)
    assert result.sparsity == pytest.approx(0.9)
    assert result.report["weights"].sum() == 470
    assert len(result.history.validation_accuracy) == 4
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_sparsity_never_falls_and_dropped_weights_are_zero_after_every_update(model, train, optimizer, monkeypatch):
    seen = []
    hook = pruning.gradual.MaskedTraining._apply

    def watch(masked, network, step, total_steps):
        hook(masked, network, step, total_steps)
        assert all((network.get_submodule(name).weight[~mask] == 0).all() for name, mask in masked.masks.items())
        seen.append(pruning.sparsity(network))

    monkeypatch.setattr(pruning.gradual.MaskedTraining, "_apply", watch)
    pruning.prune_gradually(
        model, train, final_sparsity=0.8, initial_sparsity=0.2, ramp=0.5, steps=5, epochs=4, optimizer=optimizer,
        **OPTIONS,
    )  # fmt: skip
    assert seen == sorted(seen) and seen[0] == pytest.approx(0.2, abs=2e-3)
    assert len(set(seen)) == 6
    assert seen[12:] == [pytest.approx(0.8)] * 12 and seen[10] < 0.8


def test_masks_follow_the_weights_while_sparsity_grows(model, train):
    chosen = []

    def choose(network, sparsity, layers):
        chosen.append(pruning.global_masks(network, sparsity, layers))
        return chosen[-1]

    options = {**OPTIONS, "learning_rate": 0.1}
    pruning.prune_gradually(model, train, final_sparsity=0.5, epochs=4, steps=4, choose=choose, **options)
    one_shot = pruning.global_masks(model, 0.5)
    assert len(chosen) == 5
    assert any(not torch.equal(chosen[-1][name], one_shot[name]) for name in one_shot)


def test_an_interrupted_run_resumes_to_the_same_result(model, train, validation, tmp_path):
    options = {**OPTIONS, "final_sparsity": 0.8, "epochs": 4, "ramp": 0.5, "optimizer": "sgd"}
    whole = pruning.prune_gradually(model, train, validation, **options)

    calls = []

    def interrupt(network, inputs, labels):
        calls.append(0)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return training.cross_entropy()(network, inputs, labels)

    checkpoint = tmp_path / "run.checkpoint"
    first = pruning.prune_gradually(model, train, validation, loss=interrupt, checkpoint=checkpoint, **options)
    assert first.history.interrupted and len(first.history.train_loss) == 3
    second = pruning.prune_gradually(model, train, validation, checkpoint=checkpoint, **options)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    third = pruning.prune_gradually(model, train, validation, checkpoint=checkpoint, **options)
    assert all(torch.equal(mask, third.masks[name]) for name, mask in whole.masks.items())


def test_a_pruned_model_can_be_pruned_further(model, train):
    pruned = pruning.prune_global(model, 0.5)
    result = pruning.prune_gradually(pruned, train, initial_sparsity=0.5, final_sparsity=0.8, epochs=2, **OPTIONS)
    assert result.sparsity == pytest.approx(0.8)


def test_layerwise_and_linear_can_be_combined(model, train):
    result = pruning.prune_gradually(
        model, train, final_sparsity=0.5, epochs=2, choose=pruning.layerwise_masks,
        schedule_of_sparsity=pruning.linear_sparsity, **OPTIONS,
    )  # fmt: skip
    assert result.report["sparsity"].tolist() == [0.5, 0.5, pytest.approx(0.5, abs=0.02)]


def test_fine_tuning_keeps_the_zeros_and_changes_the_rest(model, train, validation):
    pruned = pruning.prune_layerwise(model, 0.6)
    result = pruning.fine_tune(pruned, train, validation, epochs=2, **OPTIONS)
    assert all(torch.equal(mask, result.masks[name]) for name, mask in pruning.nonzero_masks(pruned).items())
    assert result.sparsity == pruning.sparsity(pruned)
    assert not torch.equal(result.model[1].weight, pruned[1].weight)


def test_gradual_pruning_works_on_a_resnet_in_bf16_and_channels_last():
    torch.manual_seed(0)
    network = models.build({"builder": "resnet18", "arguments": {"num_classes": 3}})
    images = Split(
        "toy", "train", torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8), torch.tensor([0, 1, 2, 0]), "abc"
    )
    network.to(memory_format=torch.channels_last)
    result = pruning.prune_gradually(
        network, images, final_sparsity=0.9, epochs=2, steps=2, precision="bf16", learning_rate=1e-3, batch_size=4,
        optimizer="sgd", progress=False,
    )  # fmt: skip
    total = sum(mask.numel() for mask in result.masks.values())
    assert sum(int((~mask).sum()) for mask in result.masks.values()) == round(0.9 * total)
    assert set(result.masks) == set(models.prunable_layers(network))


@pytest.mark.parametrize("with_embeddings", [False, True])
def test_gradual_pruning_works_on_a_bert(bert, with_embeddings):
    tokens = {"input_ids": torch.randint(1, 50, (8, 6)), "attention_mask": torch.ones(8, 6, dtype=torch.long)}
    sentences = Split("toy", "train", tokens, torch.tensor([0, 1] * 4), ("negative", "positive"))
    layers = [*models.prunable_layers(bert), *pruning.embedding_layers(bert)] if with_embeddings else None
    result = pruning.prune_gradually(
        bert, sentences, final_sparsity=0.8, epochs=2, steps=3, layers=layers, learning_rate=1e-3, batch_size=4,
        progress=False,
    )  # fmt: skip
    assert result.sparsity == pytest.approx(0.8, abs=1e-3)
    assert (pruning.sparsity(result.model, pruning.embedding_layers(bert)) > 0.1) == with_embeddings


def test_the_test_split_is_refused(model, train, test_split):
    for arguments in [(test_split, None), (train, test_split)]:
        with pytest.raises(TestSplitError):
            pruning.prune_gradually(model, *arguments, final_sparsity=0.5, epochs=1, **OPTIONS)
        with pytest.raises(TestSplitError):
            pruning.fine_tune(model, *arguments, epochs=1, **OPTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"final_sparsity": 1.0}, "final must lie in"),
        ({"initial_sparsity": 0.9}, "final must be at least initial"),
        ({"ramp": 0}, "ramp must be greater than 0"),
        ({"ramp": 1.1}, r"ramp must lie in \[0, 1\]"),
        ({"steps": 0}, "steps must be greater than 0"),
        ({"keep_best": True}, "keep_best cannot be used while pruning"),
        ({"after_step": print}, "after_step cannot be used"),
    ],
)
def test_impossible_arguments_are_refused(model, train, validation, change, message):
    options = {"final_sparsity": 0.5, "epochs": 1, **OPTIONS, **change}
    with pytest.raises(ValueError, match=message):
        pruning.prune_gradually(model, train, validation, **options)
