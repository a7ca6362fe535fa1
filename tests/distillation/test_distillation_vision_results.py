"""The shipped students of ResNet18, and the stored measurements of benchmarks/distillation_vision.py."""

from __future__ import annotations

import pytest

from course_lib import assets, profiling, storage

MOST_BYTES = {"10": 2.3e6, "100": 0.25e6, "400": 0.08e6}
TEACHER_PARAMETERS = 11_181_642


@pytest.fixture(scope="module")
def results():
    return assets.results("distillation_vision")


def of(results, table, student, **wanted):
    rows = [row for row in results[table]["rows"] if row.get("student", row.get("name")) == student]
    return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))


@pytest.mark.parametrize("student", MOST_BYTES)
def test_a_shipped_student_is_small_and_the_one_that_was_measured(results, student):
    file = assets.path(f"student_{student}")
    count = profiling.count_parameters(storage.load(file))
    row = of(results, "models", student)
    assert row["stored_bytes"] == storage.stored_bytes(file) <= MOST_BYTES[student]
    assert count == row["parameters"] == of(results, "students", student)["parameters"]
    assert TEACHER_PARAMETERS / count >= float(student)


@pytest.mark.parametrize(("student", "retained", "speedup"), [("10", 0.993, 8), ("100", 0.985, 20), ("400", 0.965, 20)])
def test_the_students_keep_most_of_the_accuracy_and_are_much_faster(results, student, retained, speedup):
    assert of(results, "students", student, teacher="resnet18")["retained"] >= retained
    assert of(results, "models", student)["speedup"] >= speedup


def test_with_and_without_teacher_differ_in_nothing_else(results):
    for student in MOST_BYTES:
        taught, alone = (of(results, "students", student, teacher=name) for name in ("resnet18", "none"))
        for key in ("seeds", "epochs", "images", "parameters", "learning_rate"):
            assert taught[key] == alone[key]


def test_the_table_covers_three_seeds(results):
    for row in results["students"]["rows"]:
        assert row["seeds"] == [0, 1, 2]
        assert len(row["accuracies"]) == 3 and len(set(row["accuracies"])) > 1


def test_what_the_teacher_adds_has_an_interval_from_the_same_seeds(results):
    for gained in results["gains"]["rows"]:
        assert gained["points_low"] <= gained["points"] <= gained["points_high"]
        assert gained["seeds"] == of(results, "students", gained["student"])["seeds"]


def test_where_few_images_have_a_label_the_teacher_adds_more_than_chance(results):
    taught, alone = results["unlabelled"]["rows"]
    assert taught["retained"] >= 0.993
    assert taught["significant"] and taught["points_low"] > 0
    assert taught["seeds"] == alone["seeds"] == [0, 1, 2] and taught["labelled"] == alone["labelled"]
    steps = [row["epochs"] * row["images"] for row in (taught, alone)]
    assert steps[1] == pytest.approx(steps[0], rel=0.01)


def test_with_all_labels_the_largest_needs_no_teacher(results):
    assert of(results, "students", "10", teacher="none")["retained"] >= 0.993
    assert not of(results, "gains", "10")["significant"]


def test_on_few_images_the_teacher_helps_beyond_chance(results):
    taught, alone = results["few"]["rows"]
    assert len(taught["seeds"]) == 3 and taught["seeds"] == alone["seeds"]
    assert taught["significant"] and taught["points_low"] > 0
    assert min(taught["accuracies"]) > max(alone["accuracies"])


def test_the_grid_was_judged_on_validation(results):
    rows = results["grid"]["rows"]
    assert len({(row["temperature"], row["alpha"]) for row in rows if row["alpha"]}) == 10
    assert all("accuracy" not in row and row["validation_accuracy"] > 0.5 for row in rows)


def test_every_table_names_machine_and_threads(results):
    assert set(results) == {"students", "gains", "few", "unlabelled", "grid", "gap", "models"}
    for table in results.values():
        assert table["machine"] and table["threads"] >= 1 and table["rows"]
