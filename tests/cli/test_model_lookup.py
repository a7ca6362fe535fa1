"""Models by name, with the data that they can be measured on."""

from __future__ import annotations

import pytest
import transformers

from course_lib import models
from course_lib.cli import model_lookup


def test_a_torchvision_name_is_measured_on_imagenette_with_its_own_preparation(tiny_data, monkeypatch):
    architecture = {"builder": "torchvision", "arguments": {"name": "squeezenet1_1"}}
    monkeypatch.setattr(models, "load", lambda name, weights: models.build(architecture))
    monkeypatch.setattr(model_lookup, "check_available", lambda name: None)
    found = model_lookup.find("squeezenet1_1")
    assert found.split.example(2).shape == (2, 3, 224, 224)
    assert found.split.labels.tolist() == [0, 217, 0, 217] and len(found.split.classes) == 1000


def test_a_hugging_face_name_is_measured_with_its_own_tokens(tiny_data, tiny_bert, tmp_path):
    models.build(tiny_bert).save_pretrained(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(vocab={word: row for row, word in enumerate(words)}).save_pretrained(tmp_path)
    found = model_lookup.find(str(tmp_path))
    assert found.split.example(1)["input_ids"].tolist() == [[2, 5, 3]]
    assert found.split.name == "test"


@pytest.mark.parametrize(("name", "dataset"), [("student_400", "fashion_mnist"), ("minilm_student_tenth", "sentiment")])
def test_a_shipped_model_is_measured_on_its_own_data(name, dataset):
    found = model_lookup.find(name, "validation")
    assert found.name == name and found.file.is_file() and found.split.dataset.startswith(dataset)


def test_a_language_model_is_not_measured_by_accuracy():
    with pytest.raises(ValueError, match=r"tiny_llama.* is a language model.*perplexity"):
        model_lookup.find("tiny_llama")
