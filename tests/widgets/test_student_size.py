"""The panel of lesson 10 counts the parameters of a student exactly, and shows no accuracy without a measurement."""

from __future__ import annotations

import pytest

from course_lib import distillation, models, profiling
from course_lib.widgets.student_size import OWN, STAGES, count_parts, stage_panel


@pytest.fixture(scope="module")
def teacher():
    arguments = {
        "vocab_size": 30_522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536, "num_labels": 2,
    }  # fmt: skip
    return models.build({"builder": "bert", "arguments": arguments})


def test_the_parameters_are_those_of_the_teacher(teacher):
    assert sum(count_parts(**STAGES["the teacher"]).values()) == profiling.count_parameters(teacher)


def test_the_parameters_are_those_of_a_slim_student(teacher):
    size = distillation.BertSize(160, 2, 4, 320, 10_000, 128)
    student = distillation.bert_student(teacher, size, initialise="random", tokens=range(9_999))
    assert sum(count_parts(**STAGES["a tenth in all"]).values()) == profiling.count_parameters(student)


def test_own_sizes_are_dragged_and_nothing_is_claimed_for_them():
    panel = stage_panel()
    tenth = panel.result.total
    panel.controls["stage"].value = OWN
    panel.controls["layers"].value = 5
    assert panel.result.total > tenth and panel.result.measured == []
    assert "no student of this size was trained" in panel.numbers.value
    panel.controls["stage"].value = "the teacher"
    assert panel.result.ratio == 1
