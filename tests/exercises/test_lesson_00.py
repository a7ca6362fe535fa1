"""The question of lesson 00 behaves like those of the exercises, and counts for nothing."""

from __future__ import annotations

import pytest
import torch

from course_lib.learning import CheckFailed, NotAttempted, check, course_map
from course_lib.learning.exercises.lesson_00 import questions


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))


def untouched(count, bits):
    raise NotImplementedError()


def test_an_untouched_answer_is_not_attempted():
    with pytest.raises(NotAttempted):
        check("00.1", untouched)


def test_bits_instead_of_bytes_get_the_advice_that_eight_bits_make_a_byte():
    with pytest.raises(CheckFailed, match="Eight bits make a byte"):
        check("00.1", lambda count, bits: count * bits)


def test_the_right_answer_passes_and_adds_no_points_to_the_course():
    check("00.1", lambda count, bits: count * bits // 8)
    assert course_map().points("00") == 0
    assert questions.probe_bytes(lambda count, bits: 1, torch.Generator()) == [1] * 20
