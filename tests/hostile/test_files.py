"""Only regular files of a limited size are read, and each refusal has its reason."""

import io
import json
import os
import pickle
import stat
import zipfile

import nbformat
import pytest

from course_lib.grading import building, intake, submission
from course_lib.grading.assignment import Assignment


@pytest.fixture(scope="module")
def assignment():
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    return Assignment(solution)


@pytest.fixture
def notebook(assignment):
    return building.exercise_text(assignment.solution).encode()


def problems(path):
    return {one.student: one.problem for one in intake.collect([path])}


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_links_devices_and_pipes_are_refused(tmp_path, notebook):
    folder = tmp_path / "submitted"
    folder.mkdir()
    (folder / "good.ipynb").write_bytes(notebook)
    (tmp_path / "outside.ipynb").write_bytes(notebook)
    os.link(tmp_path / "outside.ipynb", folder / "hard.ipynb")
    os.symlink("/etc/passwd", folder / "symbolic.ipynb")
    os.symlink("/etc", folder / "folder.ipynb")
    os.mkfifo(folder / "pipe.ipynb")
    os.symlink("/dev/zero", folder / "device.ipynb")
    found = problems(folder)
    assert found.pop("good") == "" and found.pop("hard") == "it is a hard link"
    assert set(found.values()) == {"it is not a regular file"} and len(found) == 4


def test_a_file_that_becomes_a_link_after_it_was_found_is_not_read(tmp_path, notebook):
    (tmp_path / "x.ipynb").write_bytes(notebook)
    (one,) = intake.collect([tmp_path])
    (tmp_path / "x.ipynb").unlink()
    os.symlink("/etc/passwd", tmp_path / "x.ipynb")
    with pytest.raises(submission.Refused, match="cannot be opened"):
        one.read()


@pytest.mark.parametrize("name", ["../../evil.ipynb", "/etc/evil.ipynb", "a\\..\\evil.ipynb", "C:/evil.ipynb"])
def test_names_that_lead_out_of_a_zip_file_are_refused(tmp_path, notebook, name):
    path = zipped(tmp_path / "export.zip", [(name, notebook), ("anna/01.ipynb", notebook)])
    found = problems(path)
    assert found.pop("anna") == ""
    assert list(found.values()) == ["its name in the zip file leads out of the folder"]
    assert not list(tmp_path.parent.glob("evil.ipynb"))


def test_a_symlink_in_a_zip_file_is_refused(tmp_path, notebook):
    link = zipfile.ZipInfo("ben/01.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert problems(path) == {"ben": "it is not a regular file in the zip file"}


def test_a_name_that_stands_twice_in_a_zip_file_is_refused(tmp_path, notebook):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(tmp_path / "export.zip", [("cleo/01.ipynb", notebook), ("cleo/01.ipynb", b"{}")])
    assert set(problems(path).values()) == {"its name stands twice in the zip file"}


def test_zip_bombs_are_refused(tmp_path):
    path = zipped(tmp_path / "export.zip", [("dora/01.ipynb", bytes(4_000_000)), ("emil/01.ipynb", bytes(60_000_000))])
    found = problems(path)
    assert "packed more than 200 times" in found["dora"] and "60,000,000 bytes unpacked" in found["emil"]


def test_a_zip_file_that_lies_about_its_sizes_is_refused(tmp_path, notebook):
    path = zipped(tmp_path / "export.zip", [("fay/01.ipynb", notebook)])
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    (one,) = intake.collect([path])
    with pytest.raises(submission.Refused):
        submission.parse(one.read())


def test_a_damaged_zip_file_and_one_with_too_many_files_are_refused(tmp_path, monkeypatch):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    assert "not a readable zip file" in problems(tmp_path / "broken.zip")["broken"]
    monkeypatch.setattr(intake, "MAX_FILES", 3)
    path = zipped(tmp_path / "many.zip", [(f"{number}/x.txt", b"") for number in range(5)])
    assert "it holds 5 files; 3 are allowed" in problems(path)["many"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "JSON cannot be read"),
        (b"{", "JSON cannot be read"),
        (b"[" * 1_000_000, "JSON cannot be read"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"[]", "no format number"),
        (b'{"nbformat": true, "cells": []}', "no format number"),
        (b'{"nbformat": 4}', "no list of cells"),
        (b'{"nbformat": 3, "worksheets": []}', "format 3; save it as format 4"),
        (b'{"nbformat": 4, "cells": {}}', "no list of cells"),
        (b'{"nbformat": 4, "x": ' + b"9" * 5000 + b', "cells": []}', "JSON cannot be read"),
        (b'{"nbformat": 4, "cells": [' + b"1," * 3000 + b"1]}", "3,001 cells; 2,000 are allowed"),
        (b" " * 100_000_000, "100,000,000 bytes; 50,000,000 are allowed"),
        (pickle.dumps(print), "not text in UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}",
)
def test_what_is_no_notebook_is_refused_with_the_reason(content, reason):
    with pytest.raises(submission.Refused, match=reason):
        submission.parse(content)


def test_a_checkpoint_with_code_is_not_opened(tmp_path, notebook):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    (tmp_path / "gina").mkdir()
    (tmp_path / "gina" / "model.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "gina" / "conftest.py").write_text("import os; os._exit(0)")
    (tmp_path / "gina" / "01.ipynb").write_bytes(notebook)
    (one,) = intake.collect([tmp_path])
    assert one.student == "gina" and submission.parse(one.read()) and not (tmp_path / "executed").exists()


def changed(notebook, change):
    content = json.loads(notebook)
    change(content)
    return submission.parse(json.dumps(content).encode())


def by_id(content, name):
    return next(cell for cell in content["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == name)


def test_only_the_sources_of_answer_cells_and_helper_cells_are_taken(assignment, notebook):
    def change(content):
        content["metadata"] = {"kernelspec": {"name": "evil", "display_name": "x"}, "widgets": {}}
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "right"}]
                cell["metadata"]["tags"] = ["skip-execution", "nbval-skip", "raises-exception"]
        by_id(content, "check-01-1")["source"] = "print('right')"
        by_id(content, "answer-01-2")["source"] = "mine = 1"
        content["cells"].insert(0, {"cell_type": "code", "source": "print(evil)", "metadata": {}, "outputs": []})

    taken = submission.extract(changed(notebook, change), assignment)
    assert taken.answers["01.2"] == "mine = 1" and taken.findings == {}
    text = nbformat.writes(assignment.notebook(taken.answers, {}))
    assert "evil" not in text and "right" not in text and "skip" not in text.replace("nbval-ignore-output", "")


def test_duplicated_missing_and_foreign_answer_cells_cost_only_themselves(assignment, notebook):
    def change(content):
        content["cells"].append(dict(by_id(content, "answer-01-1"), source="another = 1"))
        content["cells"].remove(by_id(content, "answer-01-2"))
        by_id(content, "answer-01-3")["cell_type"] = "markdown"
        by_id(content, "answer-01-4")["source"] = {"text": "x"}
        by_id(content, "answer-01-5")["source"] = "x" * 30_000
        content["cells"] += [None, 7, {"metadata": {"nbgrader": []}}, {"metadata": {"nbgrader": {"grade_id": [1]}}}]

    taken = submission.extract(changed(notebook, change), assignment)
    assert list(taken.answers) == ["01.6"]
    assert taken.findings["01.1"] == "2 different cells claim to be its answer; keep one of them."
    assert taken.findings["01.2"] == "Its answer cell is missing; copy it back from the exercise."
    assert taken.findings["01.3"] == "Its answer cell is not a code cell."
    assert taken.findings["01.4"] == "Its answer cell has no source text."
    assert "30,000 characters" in taken.findings["01.5"]


@pytest.mark.parametrize("character", ["\0", "\ud800"])
def test_characters_that_cannot_be_in_a_program_are_refused(assignment, notebook, character):
    content = changed(notebook, lambda content: by_id(content, "answer-01-1").update(source=f"x = '{character}'"))
    assert "cannot be in a program" in submission.extract(content, assignment).findings["01.1"]


def test_all_layouts_are_read_completely(tmp_path, notebook):
    nbgrader = tmp_path / "submitted" / "hans" / "01" / "01_compression_calculator.ipynb"
    nbgrader.parent.mkdir(parents=True)
    nbgrader.write_bytes(notebook)
    moodle = tmp_path / "submitted" / "Ida Ipsum_4711_assignsubmission_file_" / "01.ipynb"
    moodle.parent.mkdir()
    moodle.write_bytes(notebook)
    (tmp_path / "submitted" / "jan.ipynb").write_bytes(notebook)
    export = io.BytesIO()
    zipped(export, [("kim/01.ipynb", notebook), ("__MACOSX/kim/._01.ipynb", b"x"), ("lea.ipynb", notebook)])
    (tmp_path / "export.zip").write_bytes(export.getvalue())
    found = intake.collect([tmp_path / "submitted", tmp_path / "export.zip", tmp_path / "submitted" / "jan.ipynb"])
    assert [one.student for one in found] == ["Ida Ipsum_4711", "hans", "jan", "kim", "lea"]
    assert all(one.problem == "" and submission.lesson(submission.parse(one.read())) == "01" for one in found)


def test_no_student_can_take_the_name_of_another(tmp_path, notebook):
    """Two notebooks of one student are attempts, also where somebody is called like a second attempt."""
    for folder in ("jan/a", "jan/b", "jan (2)/a", "jan (3)/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "01.ipynb").write_bytes(notebook)
    found = {one.student: one.path for one in intake.collect([tmp_path])}
    assert sorted(found) == ["jan", "jan (2)", "jan (3)"]
    assert found["jan (2)"].endswith("jan (2)/a/01.ipynb")


def test_a_zip_file_in_a_students_folder_counts_for_that_student_only(tmp_path, notebook):
    (tmp_path / "mallory").mkdir()
    zipped(tmp_path / "mallory" / "mine.zip", [("anna/01.ipynb", notebook), ("submitted/ben/01.ipynb", notebook)])
    (one,) = intake.collect([tmp_path])
    assert one.student == "mallory" and len(one.others) == 1


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no"):
        intake.collect([tmp_path / "nothing"])
