"""The course command: it finds what is named, hands it to its room, and tells errors in one line."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import transformers
from typer.testing import CliRunner

from course_lib import assets, data, doctor, grading, models, report, storage
from course_lib.cli import model_lookup
from course_lib.cli.app import app
from course_lib.data import FASHION_CLASSES, SENTIMENT_CLASSES, Split, Splits
from course_lib.notebook import runner

TINY_BERT = {
    "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 64, "num_labels": 2,
}  # fmt: skip


def course(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def tiny_data(monkeypatch):
    """Every data set has four examples of its own kind."""

    def load(name, **_):
        if name == "sentiment":
            tokens = torch.ones(4, 5, dtype=torch.long)
            inputs, classes, texts = {"input_ids": tokens, "attention_mask": tokens}, SENTIMENT_CLASSES, ("good",) * 4
        else:
            shape = (4, 28, 28) if name == "fashion_mnist" else (4, 3, 40, 40)
            inputs, classes, texts = torch.zeros(shape, dtype=torch.uint8), FASHION_CLASSES, ()
        part = Split(name, "train", inputs, torch.arange(4) % 2, classes, texts)
        return Splits(part, replace(part, name="validation"), replace(part, name="test"))

    monkeypatch.setattr(data, "load", load)


@dataclass
class FakeRow:
    name: str
    split: str

    def to_dict(self):
        return vars(self)

    def __str__(self):
        return f"{self.name} on {self.split}"


@pytest.fixture
def measured(monkeypatch, tiny_data):
    """``report.measure`` replaced by a note of what it was asked for."""
    monkeypatch.setattr(report, "measure", lambda model, *, on, name: FakeRow(name, f"{on.dataset}/{on.name}"))


@pytest.fixture
def stored(tmp_path):
    return storage.save(models.build({"builder": "bert", "arguments": TINY_BERT}), tmp_path / "small.safetensors")


def test_a_stored_file_is_measured_on_the_data_of_its_kind(measured, stored):
    assert course("measure", stored).stdout == "small.safetensors on sentiment/test\n"
    shown = json.loads(course("measure", stored, "--split", "validation", "--json").stdout)
    assert shown == {"name": "small.safetensors", "split": "sentiment/validation"}


def test_a_stored_file_is_measured_as_it_lies_there_and_not_stored_anew(tiny_data, stored, monkeypatch):
    half = storage.save(storage.load(stored), stored.with_name("half.safetensors"), dtype="fp16")
    monkeypatch.setattr(report, "measure", functools.partial(report.measure, latency=False, memory=False))
    row = json.loads(course("measure", half, "--json").stdout)
    assert row["stored_bytes"] == half.stat().st_size < stored.stat().st_size


@pytest.mark.parametrize(("name", "dataset"), [("resnet18", "fashion_mnist"), ("minilm", "sentiment")])
def test_a_shipped_baseline_is_measured_on_its_own_data(measured, monkeypatch, name, dataset):
    kind = {"resnet18": {"builder": "resnet18", "arguments": {}}, "minilm": {"builder": "bert", "arguments": TINY_BERT}}
    monkeypatch.setattr(models, "load", lambda wanted: models.build(kind[wanted]))
    assert course("measure", name).stdout == f"{name} on {dataset}/test\n"


def test_a_torchvision_name_is_measured_on_imagenette_with_its_own_preparation(tiny_data, monkeypatch):
    architecture = {"builder": "torchvision", "arguments": {"name": "squeezenet1_1"}}
    monkeypatch.setattr(models, "load", lambda name, weights: models.build(architecture))
    found = model_lookup.find("squeezenet1_1")
    assert found.split.example(2).shape == (2, 3, 224, 224)
    assert found.split.labels.tolist() == [0, 217, 0, 217] and len(found.split.classes) == 1000


def test_a_hugging_face_name_is_measured_with_its_own_tokens(tiny_data, tmp_path):
    models.build({"builder": "bert", "arguments": TINY_BERT}).save_pretrained(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(vocab={word: row for row, word in enumerate(words)}).save_pretrained(tmp_path)
    found = model_lookup.find(str(tmp_path))
    assert found.split.example(1)["input_ids"].tolist() == [[2, 5, 3]]
    assert found.split.name == "test"


def test_a_model_with_other_classes_than_the_data_is_refused_in_one_line(measured, tmp_path):
    other = models.build({"builder": "mlp", "arguments": {"sizes": [2352, 8, 3]}})
    result = course("measure", storage.save(other, tmp_path / "other.safetensors"))
    assert result.exit_code == 2
    assert "other.safetensors answers with 3 classes, but fashion_mnist has 10" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("measure", "resnet18", "--split", "tset"), "split must be one of 'train', 'validation', 'test'; got 'tset'"),
        (("measure", "nowhere.safetensors"), "there is no file nowhere.safetensors"),
        (("measure", "nobody/no-model"), "could not be fetched"),
        (("run", "99"), "lesson must be one of"),
    ],
)
def test_errors_of_a_person_are_one_line_with_exit_code_2(arguments, message):
    result = course(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.startswith("course: ") and "Traceback" not in result.stderr


def test_a_damaged_model_file_is_one_line(measured, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\x00" * 100)
    result = course("measure", bad)
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    def broken():
        raise TypeError("ours")

    monkeypatch.setattr(doctor, "examine", broken)
    with pytest.raises(TypeError, match="ours"):
        course("doctor")


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_doctor_tells_by_its_exit_code_whether_something_is_missing(monkeypatch, ok, code):
    diagnosis = doctor.Diagnosis((doctor.Finding("memory", "1 GB", "more", ok),))
    monkeypatch.setattr(doctor, "examine", lambda: diagnosis)
    result = course("doctor")
    assert result.exit_code == code and "memory  1 GB" in result.stdout


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("failed", 1)])
def test_run_fails_if_a_lesson_fails(monkeypatch, status, code):
    asked = {}

    def run(names, **options):
        asked.update(options, names=names)
        return [runner.LessonResult("03_x", 5, 1.0, 300.0, status, "", (), Path("x"))]

    monkeypatch.setattr(runner, "run", run)
    result = course("run", "03", "--save", "--timeout", "9")
    assert result.exit_code == code and "03_x" in result.stdout
    assert asked == {"names": ["03"], "save": True, "timeout": 9.0}


def test_build_tells_what_it_wrote_and_check_fails_on_a_difference(monkeypatch):
    monkeypatch.setattr(grading, "build", lambda paths, check: [Path("exercises/03.ipynb")])
    assert course("build").exit_code == 0
    result = course("build", "--check")
    assert result.exit_code == 1 and "differs: exercises/03.ipynb" in result.stdout


@pytest.mark.parametrize("complete", [True, False])
def test_check_gives_points_and_its_exit_code_tells_if_all_were_earned(monkeypatch, tmp_path, complete):
    from course_lib.grading.selfcheck import QuestionResult

    points, status = (4, "passed") if complete else (0, "not attempted")
    question = QuestionResult("03.1", "A mask", points, 4, status)
    monkeypatch.setattr(grading, "check", lambda paths: [grading.NotebookResult(str(paths[0]), [question])])
    notebook = tmp_path / "03.ipynb"
    notebook.touch()
    result = course("check", notebook)
    assert result.exit_code == int(not complete)
    assert f"03.ipynb: {points} of 4 points" in result.stdout and status in result.stdout
    assert json.loads(course("check", notebook, "--json").stdout)[0]["points"] == points
    assert course("check", tmp_path / "missing.ipynb").exit_code == 2


def test_verify_assets_names_what_is_damaged(monkeypatch):
    assert course("verify-assets").exit_code == 0
    monkeypatch.setattr(assets, "verify", lambda: ["asset x is missing"])
    result = course("verify-assets")
    assert result.exit_code == 1 and result.stdout == "asset x is missing\n"
