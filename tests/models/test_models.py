"""Models are rebuilt from their descriptions, and come with clear errors."""

import pytest
import torch

from course_lib import models

TINY_BERT = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip


def test_resnet18_is_torchvisions_unchanged_architecture():
    model = models.build({"builder": "resnet18", "arguments": {"num_classes": 10}})
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_181_642


def test_a_description_rebuilds_the_same_shapes():
    model = models.build({"builder": "bert", "arguments": TINY_BERT})
    again = models.build(models.describe(model))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_forward_returns_logits_for_tensors_and_for_token_dicts():
    mlp = models.build({"builder": "mlp", "arguments": {"sizes": [4, 3, 2]}})
    assert models.forward(mlp, torch.zeros(5, 2, 2)).shape == (5, 2)
    bert = models.build({"builder": "bert", "arguments": TINY_BERT})
    tokens = {"input_ids": torch.ones(3, 4, dtype=torch.long), "attention_mask": torch.ones(3, 4, dtype=torch.long)}
    assert models.forward(bert, tokens).shape == (3, 2)


def test_prunable_layers_are_convolutions_and_linears_in_model_order():
    names = list(models.prunable_layers(models.build({"builder": "resnet18", "arguments": {}})))
    assert names[0] == "conv1" and names[-1] == "fc" and len(names) == 21


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.build({"builder": "vgg"}), "builder must be one of 'resnet18'"),
        (lambda: models.build({"builder": "resnet18", "arguments": {"depth": 3}}), "cannot use the arguments"),
        (lambda: models.describe(torch.nn.Linear(2, 2)), "Linear has no description"),
        (lambda: models.load("resnet18", weights="mine"), "weights must be one of 'course'"),
        (lambda: models.load("resnet19", weights="imagenet"), "name must be one of"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unreachable_model_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="use one of resnet18, minilm"):
        models.load(str(tmp_path / "no-such-model"))


def test_a_local_hugging_face_folder_loads_with_its_head(tmp_path):
    models.build({"builder": "bert", "arguments": TINY_BERT}).save_pretrained(tmp_path)
    loaded = models.load(str(tmp_path))
    assert type(loaded).__name__ == "BertForSequenceClassification" and not loaded.training
    again = models.build(models.describe(loaded))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in loaded.state_dict().items()}


def test_any_torchvision_classifier_can_be_rebuilt_from_its_description(monkeypatch):
    import torchvision

    def untrained(name, weights, **options):
        return original(name, weights=None, **options)

    original = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", untrained)
    model = models.load("squeezenet1_1", weights="imagenet")
    assert models.describe(model) == {
        "builder": "torchvision",
        "arguments": {"name": "squeezenet1_1", "num_classes": 1000},
    }
    assert models.build(models.describe(model)).state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("name", models.BASELINES)
def test_a_shipped_baseline_loads_as_fp32_in_eval_mode(name):
    model = models.load(name)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_untrained_weights_differ_from_the_shipped_ones():
    trained, fresh = models.load("resnet18"), models.load("resnet18", weights="none")
    assert not torch.equal(trained.fc.weight, fresh.fc.weight)
