"""The course command: every subcommand calls its room, and an error of the user is one line."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from course_lib import assets, doctor, grading, models, report, storage
from course_lib.cli.app import app
from course_lib.core import extras
from course_lib.notebook import runner


def course(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


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
def stored(tmp_path, tiny_bert):
    return storage.save(models.build(tiny_bert), tmp_path / "small.safetensors")


def test_the_package_runs_as_a_command():
    command = [sys.executable, "-m", "course_lib.cli", "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "verify-assets" in finished.stdout


def test_a_stored_file_is_measured_on_the_data_of_its_kind(measured, stored):
    assert course("measure", stored).stdout == "small.safetensors on sentiment/test\n"
    shown = json.loads(course("measure", stored, "--split", "validation", "--json").stdout)
    assert shown == {"name": "small.safetensors", "split": "sentiment/validation"}


def test_a_stored_file_is_measured_as_it_is_and_not_stored_again(tiny_data, stored, monkeypatch):
    half = storage.save(storage.load(stored), stored.with_name("half.safetensors"), dtype="fp16")
    monkeypatch.setattr(report, "measure", functools.partial(report.measure, latency=False, memory=False))
    row = json.loads(course("measure", half, "--json").stdout)
    assert row["stored_bytes"] == half.stat().st_size < stored.stat().st_size


@pytest.mark.parametrize(("name", "dataset"), [("resnet18", "fashion_mnist"), ("minilm", "sentiment")])
def test_a_shipped_baseline_is_measured_on_its_own_data(measured, tiny_bert, monkeypatch, name, dataset):
    kind = {"resnet18": {"builder": "resnet18", "arguments": {}}, "minilm": tiny_bert}
    monkeypatch.setattr(models, "load", lambda wanted: models.build(kind[wanted]))
    assert course("measure", name).stdout == f"{name} on {dataset}/test\n"


def test_a_model_with_other_classes_than_the_data_is_refused_in_one_line(measured, tmp_path):
    other = models.build({"builder": "mlp", "arguments": {"sizes": [2352, 8, 3]}})
    result = course("measure", storage.save(other, tmp_path / "other.safetensors"))
    assert result.exit_code == 2
    assert "other.safetensors has 3 classes, but fashion_mnist has 10" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("measure", "resnet18", "--split", "tset"), "split must be one of 'train', 'validation', 'test'; got 'tset'"),
        (("measure", "nowhere.safetensors"), "there is no file nowhere.safetensors"),
        (("measure", "unknown/no-model"), "could not be fetched"),
        (("run", "99"), "lesson must be one of"),
    ],
)
def test_errors_of_the_user_are_one_line_with_exit_code_2(arguments, message):
    result = course(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.startswith("course: ") and "Traceback" not in result.stderr


def test_a_damaged_model_file_is_one_line(measured, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\x00" * 100)
    result = course("measure", bad)
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    def broken(**_):
        raise TypeError("ours")

    monkeypatch.setattr(doctor, "examine", broken)
    with pytest.raises(TypeError, match="ours"):
        course("doctor")


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_of_doctor_shows_whether_something_is_missing(monkeypatch, ok, code):
    diagnosis = doctor.Diagnosis((doctor.Finding("memory", "1 GB", "more", ok),))
    monkeypatch.setattr(doctor, "examine", lambda **_: diagnosis)
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


def test_build_prints_what_it_wrote_and_check_fails_on_a_difference(monkeypatch):
    monkeypatch.setattr(grading, "build", lambda paths, check: [Path("exercises/03.ipynb")])
    assert course("build").exit_code == 0
    result = course("build", "--check")
    assert result.exit_code == 1 and "differs: exercises/03.ipynb" in result.stdout


@pytest.mark.parametrize("complete", [True, False])
def test_check_prints_points_and_its_exit_code_shows_whether_all_were_earned(monkeypatch, tmp_path, complete):
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


@pytest.mark.parametrize("arguments", [["build"], ["grade", "submitted", "--out", "results"]])
def test_without_the_classroom_extra_a_command_that_needs_it_says_how_to_get_it(monkeypatch, arguments):
    monkeypatch.setattr(extras, "missing", lambda extra: ["nbgrader"])
    result = course(*arguments)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert 'install it with: .venv/bin/python -m pip install -e ".[classroom]" -c requirements.lock' in result.stderr


def test_a_model_is_fetched_and_a_missing_extra_or_network_is_one_line(monkeypatch, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    monkeypatch.setattr(models, "fetch", lambda name: file)
    assert course("fetch", "smollm2").stdout == f"smollm2: {file} (7 bytes)\n"

    def offline(name):
        raise ConnectionError(f"{name} could not be fetched")

    monkeypatch.setattr(models, "fetch", offline)
    refused = course("fetch", "smollm2")
    assert (refused.exit_code, refused.stderr) == (2, "course: smollm2 could not be fetched\n")
    monkeypatch.setattr(extras, "packages", lambda extra: [f"{extra}-of-nowhere"])
    assert "the extra [llm] is not installed" in course("fetch", "smollm2").stderr
