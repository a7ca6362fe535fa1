"""Every student folder and every entry of an export gives one line per exercise: a notebook or the reason."""

from __future__ import annotations

import io
import json
import os
import unicodedata
import zipfile
from datetime import datetime

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course_lib.grading import intake
from tests.grading.conftest import nbgrader


def notebook(lesson: str, text: str = "x = 1") -> bytes:
    cell = new_code_cell(text, metadata=nbgrader(f"answer-{lesson}-1", solution=True))
    return json.dumps(new_notebook(cells=[cell])).encode()


def put(root, name, content=b"", at=None):
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if at is not None:
        os.utime(file, (at, at))
    return file


def zipped(entries) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def lines(*paths):
    """(student, lesson) → problem."""
    found = intake.collect(paths)
    assert len({one.identity for one in found}) == len(found)
    return {one.identity: one.problem for one in found}


def test_two_exercises_of_a_student_are_two_lines_and_strays_are_neither(tmp_path):
    root = tmp_path / "submitted"
    put(root, "anna/03_pruning/03_pruning.ipynb", notebook("03"))
    put(root, "anna/05_quantization/05_quantization.ipynb", notebook("05"))
    put(root, "anna/.virtual_documents/03_pruning/03_pruning.ipynb", notebook("03", "stray = 1"))
    put(root, "anna/03_pruning/.ipynb_checkpoints/03_pruning-checkpoint.ipynb", notebook("03", "old = 1"))
    put(root, "anna/03_pruning/00_scratch.ipynb", json.dumps(new_notebook()).encode())
    found = intake.collect([root])
    assert [one.identity for one in found] == [("anna", "03"), ("anna", "05")]
    assert b"x = 1" in found[0].read() and "00_scratch.ipynb: not graded, no exercise" in found[0].others[0]


@pytest.mark.parametrize("late_first", [True, False])
def test_the_latest_attempt_is_graded_and_the_others_are_listed(tmp_path, late_first):
    put(tmp_path, "anna/03.ipynb", notebook("03", "first = 1"), at=2_000_000 if late_first else 1_000_000)
    put(tmp_path, "anna/03 (1).ipynb", notebook("03", "second = 1"), at=1_000_000 if late_first else 2_000_000)
    (one,) = intake.collect([tmp_path])
    assert (b"first" if late_first else b"second") in one.read()
    assert one.others == (f"anna/03{' (1)' if late_first else ''}.ipynb: an earlier attempt, not graded",)


def test_of_files_that_were_copied_together_the_highest_number_is_the_latest(tmp_path):
    for name, at in (("03.ipynb", 1_000_002), ("03 (1).ipynb", 1_000_000), ("03 (2).ipynb", 1_000_001)):
        put(tmp_path, f"anna/{name}", notebook("03", f"x = '{name}'"), at=at)
    (one,) = intake.collect([tmp_path])
    assert b"03 (2).ipynb" in one.read() and len(one.others) == 2


def test_an_attempt_that_cannot_be_read_does_not_hide_one_that_can(tmp_path):
    put(tmp_path, "anna/03.ipynb", notebook("03"), at=1_000_000)
    put(tmp_path, "anna/03 (1).ipynb", b"{ broken", at=2_000_000)
    (one,) = intake.collect([tmp_path])
    assert one.path.endswith("03.ipynb") and "03 (1).ipynb: not graded, the file is not a notebook" in one.others[0]


def test_a_broken_notebook_of_another_exercise_has_a_line_of_its_own(tmp_path):
    put(tmp_path, "anna/03.ipynb", notebook("03"))
    put(tmp_path, "anna/05_quantization.ipynb", b"{ broken")
    assert set(lines(tmp_path)) == {("anna", "03"), ("anna", "05")}


@pytest.mark.parametrize("suffix", [".ipynb", ".IPYNB", ".ipynb.txt", ".ipynb.json", ".Ipynb.TXT"])
def test_odd_suffixes_are_graded(tmp_path, suffix):
    put(tmp_path, f"anna/03_pruning{suffix}", notebook("03"))
    assert lines(tmp_path) == {("anna", "03"): ""}


def test_a_zip_file_in_a_zip_file_is_opened(tmp_path):
    inner = zipped({"deep/03.ipynb": notebook("03", "inside = 1")})
    outer = zipped(
        {"Ben_1_assignsubmission_file_/work.zip": zipped({"again.zip": inner}), "Cleo_2_assignsubmission_file_/": b""}
    )
    put(tmp_path, "export.zip", outer)
    found = {one.student: one for one in intake.collect([tmp_path / "export.zip"])}
    assert b"inside" in found["Ben_1"].read() and "the folder is empty" in found["Cleo_2"].problem


REASONS = {
    "anna": ({"03.7z": b"7z"}, "03.7z is not unpacked here"),
    "ben": ({}, "the folder is empty"),
    "cleo": ({"03.html": b"<p>", "03.py": b"x"}, "no notebook was handed in, only 03.html, 03.py"),
    "dora": ({".03.ipynb": b"{}"}, "it holds only hidden files such as .03.ipynb"),
    "emil": ({"03.zip": b"PK\x03\x04broken"}, "it is not a readable zip file"),
    "fay": ({"03.zip": zipped({"readme.txt": b"x"})}, "03.zip is not unpacked here"),
}  # fmt: skip


def test_who_handed_in_no_notebook_has_a_line_with_the_reason(tmp_path):
    for student, (files, _) in REASONS.items():
        (tmp_path / student).mkdir()
        for name, content in files.items():
            put(tmp_path, f"{student}/{name}", content)
    put(tmp_path, "gina/03.ipynb", notebook("03"))
    put(tmp_path, "README.md")
    put(tmp_path, ".DS_Store")
    found = {student: problem for (student, _), problem in lines(tmp_path).items()}
    assert set(found) == {*REASONS, "gina"} and found["gina"] == ""
    assert all(reason in found[student] for student, (_, reason) in REASONS.items())


def test_the_number_of_lines_is_checked(tmp_path, monkeypatch):
    put(tmp_path, "anna/03.ipynb", notebook("03"))
    put(tmp_path, "ben/03.ipynb", notebook("03"))
    choose = intake.attempts.choose
    monkeypatch.setattr(intake.attempts, "choose", lambda found, limit: choose(found, limit)[:1])
    with pytest.raises(RuntimeError, match="no result for 1 students: ben"):
        intake.collect([tmp_path])


def test_names_of_canvas_give_student_and_attempt(tmp_path):
    names = {
        "doejane_4711_90001_03_pruning.ipynb": b"a = 1",
        "doejane_LATE_4711_90002_03_pruning-1.ipynb": b"b = 2",
        "doejane_4712_90003_03_pruning.ipynb": b"c = 3",
        "roejohn_4713_90004_work.7z": b"7z",
    }
    for content in (names, {f"submissions/{name}": text for name, text in names.items()}):
        export = {name: notebook("03", text.decode()) for name, text in content.items()}
        found = {one.student: one for one in intake.collect([put(tmp_path, "export.zip", zipped(export))])}
        assert set(found) == {"doejane_4711", "doejane_4712", "roejohn_4713"}
        assert b"b = 2" in found["doejane_4711"].read() and len(found["doejane_4711"].others) == 1
        assert "not unpacked" in found["roejohn_4713"].problem


def test_names_of_blackboard_give_student_attempt_and_time(tmp_path):
    head = "Exercise 3_jdoe_attempt_2026-11-"
    export = {
        f"{head}28-10-00-00_03.ipynb": notebook("03", "a = 1"),
        f"{head}30-23-58-07_03.ipynb": notebook("03", "b = 2"),
        f"{head}30-23-58-07.txt": b"receipt",
        "Exercise 3_roe_attempt_2026-11-30-10-00-00.txt": b"no file",
    }
    found = {one.student: one for one in intake.collect([put(tmp_path, "export.zip", zipped(export))])}
    assert set(found) == {"jdoe", "roe"} and b"b = 2" in found["jdoe"].read()
    assert found["jdoe"].received == datetime(2026, 11, 30, 23, 58, 7) and "only Exercise 3_roe" in found["roe"].problem


def test_blackboard_users_with_an_underscore_stay_two(tmp_path):
    export = {f"HW_{user}_attempt_2026-11-30-10-00-00_03.ipynb": notebook("03") for user in ("a_smith", "j_smith")}
    assert len(lines(put(tmp_path, "export.zip", zipped(export)))) == 2


def test_names_of_moodle_give_the_student_in_folders_and_flat(tmp_path):
    export = {
        "Anna Schmidt_11_assignsubmission_file_/03.ipynb": notebook("03"),
        "Anna Schmidt_11_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
        "Anna Schmidt_12_assignsubmission_file_03.ipynb": notebook("03"),
    }
    assert set(lines(put(tmp_path, "export.zip", zipped(export)))) == {
        ("Anna Schmidt_11", "03"),
        ("Anna Schmidt_12", "03"),
    }


def test_a_student_cannot_name_another_in_her_own_zip_file(tmp_path):
    mine = zipped({"ben_2_assignsubmission_file_/03.ipynb": notebook("03"), "roe_1_2_03.ipynb": notebook("03")})
    put(tmp_path, "mallory/mine.zip", mine)
    put(tmp_path, "anna.zip", zipped({"03.ipynb": notebook("03")}))
    assert set(lines(tmp_path)) == {("mallory", "03"), ("anna", "03")}


def test_an_export_in_a_folder_is_an_export(tmp_path):
    put(
        tmp_path, "moodle.zip", zipped({f"S {n}_{n}_assignsubmission_file_/03.ipynb": notebook("03") for n in range(3)})
    )
    assert len(lines(tmp_path)) == 3


def test_accents_in_both_unicode_forms_are_one_student(tmp_path):
    for form, lesson in (("NFC", "03"), ("NFD", "05")):
        put(tmp_path, f"{unicodedata.normalize(form, 'Zoë Müller')}/{lesson}.ipynb", notebook(lesson))
    assert set(lines(tmp_path)) == {("Zoë Müller", "03"), ("Zoë Müller", "05")}


LAYOUTS = [
    ("submitted/anna/03_x/03_x.ipynb", "submitted", "anna"),
    ("submitted/anna/03_x/03_x.ipynb", "submitted/anna", "anna"),
    ("submitted/anna/03_x/03_x.ipynb", "submitted/anna/03_x/03_x.ipynb", "anna"),
    ("all/03_x/anna/work.ipynb", "all", "anna"),
    ("all/03_x/anna.ipynb", "all", "anna"),
    ("all/anna.ipynb", "all", "anna"),
    ("all/anna/03.ipynb", "all/anna", "anna"),
    ("all/anna/anna.ipynb", "all", "anna"),
    ("all/submitted/anna/03.ipynb", "all", "anna"),
]


@pytest.mark.parametrize(("file", "given", "student"), LAYOUTS)
def test_the_student_is_known_in_each_layout(tmp_path, file, given, student):
    put(tmp_path, file, notebook("03"))
    assert set(lines(tmp_path / given)) == {(student, "03")}


def test_sections_of_a_class_lose_nobody(tmp_path):
    for section, names in {"monday": ("anna", "ben", "cleo"), "tuesday": ("anna", "dora", "emil")}.items():
        for name in names:
            put(tmp_path / "two", f"{section}/{name}/03.ipynb", notebook("03"))
    found = {student for student, _ in lines(tmp_path / "two")}
    assert {"monday/anna", "tuesday/anna"} < found and len(found) == 6
    for name in ("a", "b", "c"):
        put(tmp_path / "one", f"section/{name}/03.ipynb", notebook("03"))
    assert set(lines(tmp_path / "one")) == {("a", "03"), ("b", "03"), ("c", "03")}


def test_windows_separators_and_colons_in_a_zip_file_are_read(tmp_path):
    export = zipped({"anna\\03.ipynb": notebook("03"), "ben/03: final.ipynb": notebook("03")})
    assert lines(put(tmp_path, "export.zip", export)) == {("anna", "03"): "", ("ben", "03"): ""}


def test_large_outputs_do_not_matter_and_the_limit_can_be_raised(tmp_path):
    content = json.loads(notebook("03"))
    content["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 6_000_000}]
    put(tmp_path, "anna/03.ipynb", json.dumps(content).encode())
    assert lines(tmp_path) == {("anna", "03"): ""}
    (one,) = intake.collect([tmp_path], 1_000_000)
    assert one.problem.startswith("it has 6,000,") and one.problem.endswith("bytes; 1,000,000 are allowed")


def test_cells_without_outputs_and_a_byte_order_mark_are_read(tmp_path):
    content = json.loads(notebook("03"))
    del content["cells"][0]["outputs"], content["cells"][0]["execution_count"]
    put(tmp_path, "anna/03.ipynb", b"\xef\xbb\xbf" + json.dumps(content).encode())
    assert lines(tmp_path) == {("anna", "03"): ""}
