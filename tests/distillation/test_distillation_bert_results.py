"""The shipped student of MiniLM, and the stored measurements of benchmarks/distillation_bert.py."""

from __future__ import annotations

import pytest

from course_lib import assets, data, profiling, storage, training


@pytest.fixture(scope="module")
def rows():
    return {row["name"]: row for row in assets.results("distillation_bert")["accuracy"]["rows"]}


def test_the_student_has_less_than_a_tenth_of_the_parameters_and_of_the_work(rows):
    teacher, student = rows["teacher"], rows["tenth"]
    assert profiling.count_parameters(storage.load(assets.path("minilm_student_tenth"))) == student["parameters"]
    assert teacher["parameters"] > 10 * student["parameters"] and teacher["macs"] > 10 * student["macs"]


def test_the_student_takes_less_than_five_megabytes():
    assert storage.stored_bytes(assets.path("minilm_student_tenth")) < 5e6


def test_the_student_is_as_accurate_on_validation_as_stored(rows):
    movies = data.load("sentiment", domain="movies")
    found = training.evaluate(storage.load(assets.path("minilm_student_tenth")), movies.validation).accuracy
    assert found == pytest.approx(rows["tenth"]["validation"][0], abs=0.005)


def test_every_row_has_an_interval_around_what_is_retained(rows):
    for row in rows.values():
        for domain in data.SENTIMENT_DOMAINS:
            assert row[f"{domain}_low"] <= row[f"{domain}_retained"] <= row[f"{domain}_high"]


def test_the_targets_that_were_reached_stay_reached(rows):
    assert rows["tenth"]["movies_retained"] >= 0.95 and rows["half"]["movies_retained"] >= 0.985
    speeds = {row["name"]: row for row in assets.results("distillation_bert")["speed"]["rows"]}
    assert all(row["threads"] == 2 for row in speeds.values())
    assert speeds["tenth"]["speedup"] >= 10 and speeds["half"]["speedup"] >= 1.8


def test_every_student_was_trained_with_three_seeds(rows):
    assert all(row["seeds"] == [0, 1, 2] for name, row in rows.items() if name != "teacher")


def test_progressive_and_direct_distillation_have_the_same_number_of_epochs(rows):
    assert rows["tenth"]["epochs"] == sum(rows[stage]["epochs"] for stage in ("half", "middle", "tenth_in_stages"))
    gained = rows["tenth_in_stages"]
    assert gained["points_low"] <= gained["points"] <= gained["points_high"]


def test_rewritten_text_helps_beyond_chance(rows):
    assert rows["tenth"]["movies_low"] > rows["tenth_not_rewritten"]["movies_high"]
    assert rows["tenth_not_rewritten"]["movies_retained"] > rows["tenth_labels_only"]["movies_retained"]
