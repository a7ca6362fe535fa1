"""A stored result is read as it was written; what is damaged or of another schema is no result."""

import json

import pytest

from course_lib.grading import results
from tests.grading.conftest import evil_result


@pytest.fixture
def stored(tmp_path):
    file = tmp_path / "results" / "k.json"
    results.write(file, evil_result("x"))
    return file


def test_a_result_survives_its_file(stored):
    assert results.read(stored) == evil_result("x")


def test_a_refused_submission_has_the_reason_and_no_points(tmp_path):
    refused = results.refused("anna", "it is empty", "bwrap")
    results.write(tmp_path / "k.json", refused)
    assert results.read(tmp_path / "k.json") == refused
    assert (refused.points, refused.max_points, refused.problem) == (0, 0, "it is empty")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema": 3}', '{"schema": 3, "questions": [1]}'])
def test_a_damaged_file_is_no_result(stored, text):
    stored.write_text(text)
    assert results.read(stored) is None


@pytest.mark.parametrize("change", [{"schema": 1}, {"extra": 1}, {"questions": [{"status": "great"}]}])
def test_a_file_of_another_schema_is_no_result(stored, change):
    stored.write_text(json.dumps(json.loads(stored.read_text()) | change))
    assert results.read(stored) is None


def test_without_a_file_there_is_no_result(tmp_path):
    assert results.read(tmp_path / "nothing.json") is None
