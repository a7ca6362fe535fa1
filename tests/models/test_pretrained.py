"""Trained models load by name; the shipped baselines are as accurate as their cards say."""

import json
import time

import pytest
import torch

from course_lib import assets, data, models, training
from course_lib.models.pretrained import check_available
from tests.toys import one_layer_bert

CARD = json.loads((assets.FOLDER / "cards" / "baselines.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.load("resnet18", weights="mine"), "weights must be one of 'course'"),
        (lambda: models.load("resnet19", weights="imagenet"), "name must be one of"),
    ],
)
def test_an_unknown_name_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unreachable_model_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="use one of resnet18, minilm"):
        models.load(str(tmp_path / "no-such-model"))


def test_a_local_hugging_face_folder_loads_with_its_head(tmp_path):
    one_layer_bert().save_pretrained(tmp_path)
    loaded = models.load(str(tmp_path))
    assert type(loaded).__name__ == "BertForSequenceClassification" and not loaded.training
    again = models.build(models.describe(loaded))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in loaded.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet1_1", {}),
        ("googlenet", {"aux_logits": False, "transform_input": True}),
        ("inception_v3", {"aux_logits": True, "transform_input": True}),
    ],
)
def test_any_torchvision_classifier_can_be_rebuilt_from_its_description(name, options, monkeypatch):
    import torchvision

    def untrained(name, weights, **arguments):
        return original(name, weights=None, **options if weights else arguments)

    original = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", untrained)
    monkeypatch.setattr("course_lib.models.pretrained.check_reachable", lambda url: None)
    model = models.load(name, weights="imagenet")
    arguments = {"name": name, "num_classes": 1000, **options}
    assert models.describe(model) == {"builder": "torchvision", "arguments": arguments}
    with torch.device("meta"):
        rebuilt = original(name, weights=None, num_classes=1000, **options)
    assert rebuilt.state_dict().keys() == model.state_dict().keys()


def test_weights_of_torchvision_without_network_are_refused_at_once(monkeypatch, tmp_path):
    def unreachable(url):
        raise ConnectionError(f"{url} cannot be reached")

    monkeypatch.setattr("course_lib.models.pretrained.check_reachable", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ConnectionError, match=r"'inception_v3' is neither shipped .* \(https://download\.pytorch\.org"):
        models.load("inception_v3", weights="imagenet")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "inception_v3_google-0cc3c7bd.pth").touch()
    check_available("inception_v3", "https://download.pytorch.org")


def test_options_of_other_classifiers_are_refused():
    with pytest.raises(ValueError, match="options must be one of 'aux_logits', 'transform_input'"):
        models.torchvision_classifier("googlenet", 10, dropout=0.5)


@pytest.mark.parametrize("name", models.BASELINES)
def test_a_shipped_baseline_loads_as_fp32_in_eval_mode(name):
    model = models.load(name)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_untrained_weights_differ_from_the_shipped_ones():
    trained, fresh = models.load("resnet18"), models.load("resnet18", weights="none")
    assert not torch.equal(trained.fc.weight, fresh.fc.weight)


@pytest.mark.parametrize(
    ("name", "domain", "at_least"), [("resnet18", "fashion_mnist", 0.93), ("minilm", "movies", 0.875)]
)
def test_a_baseline_reaches_its_card_and_its_target(name, domain, at_least):
    split = data.load("fashion_mnist" if name == "resnet18" else "sentiment").test
    accuracy = training.evaluate(models.load(name), split).accuracy
    assert accuracy >= at_least
    assert accuracy == pytest.approx(CARD[name]["domains"][domain]["accuracy"], abs=0.001)


def test_cards_give_an_interval_and_every_class_for_every_domain():
    assert list(CARD["minilm"]["domains"]) == list(data.SENTIMENT_DOMAINS)
    for model in CARD.values():
        for row in model["domains"].values():
            low, high = row["interval"]
            assert low < row["accuracy"] < high
            assert len(row["per_class"]) in (2, 10)


@pytest.mark.parametrize("name", models.BASELINES)
def test_loading_a_baseline_costs_no_more_than_a_moment(name):
    models.load(name)
    started = time.process_time()
    models.load(name)
    assert time.process_time() - started < 3


def test_an_unknown_name_is_given_up_at_once_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    asked = []

    def unreachable(url):
        asked.append(url)
        raise ConnectionError("the hub cannot be reached")

    monkeypatch.setattr("course_lib.models.pretrained.check_reachable", unreachable)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("it tried to download"))
    for load in (models.load, models.hugging_face_tokenizer):
        with pytest.raises(ConnectionError, match=r"no-such-model.*the hub cannot be reached.*use one of resnet18"):
            load("no-such-model")
    assert asked == ["https://huggingface.co"] * 2


def test_a_downloaded_model_needs_no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr("course_lib.models.pretrained.check_reachable", lambda url: pytest.fail("it is here"))
    (tmp_path / "hub" / "models--someone--tiny").mkdir(parents=True)
    check_available("someone/tiny")
    check_available(str(tmp_path))


def test_the_compressed_models_of_the_lessons_are_found_by_name():
    names = models.shipped_models()
    assert {"resnet18", "student_100", "resnet18_structured_11", "minilm_student_tenth"} <= set(names)
    assert "fashion_mnist" not in names
    student = models.load("student_400")
    assert not student.training and models.describe(student)["builder"] == "small_resnet"
    untrained = models.load("student_400", weights="none")
    assert untrained.state_dict().keys() == student.state_dict().keys()
