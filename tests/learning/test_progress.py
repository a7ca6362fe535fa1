from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import pytest

from course_lib.learning import progress
from course_lib.learning.progress import ProgressWarning


def test_a_new_learner_has_every_section_and_reading_writes_nothing(progress_file):
    assert progress.read() == {"version": 1, **{section: {} for section in progress.SECTIONS}}
    assert not progress_file.parent.exists()


def test_everything_recorded_is_in_one_json_file(progress_file):
    progress.record_lesson("03", progress.IN_PROGRESS, "03_magnitude_pruning.ipynb")
    progress.record_points("03.1", 4)
    progress.record_hint("03.1", 2)
    progress.record_quiz("03", {"a": 1}, 5, 8)
    progress.record_prediction("03.speedup", 6.5)
    stored = json.loads(progress_file.read_text())
    assert stored == progress.read()
    assert stored["last"] == {"lesson": "03", "file": "03_magnitude_pruning.ipynb"}
    assert stored["questions"]["03.1"]["points"] == 4
    assert stored["hints"] == {"03.1": 2} and stored["predictions"] == {"03.speedup": 6.5}
    assert stored["quizzes"]["03"]["best"] == 5
    assert [file.name for file in progress_file.parent.iterdir() if file.suffix == ".json"] == ["progress.json"]


def test_points_and_status_never_decrease():
    progress.record_lesson("03", progress.DONE)
    progress.record_lesson("03", progress.IN_PROGRESS)
    assert progress.read()["lessons"]["03"]["status"] == progress.DONE
    progress.record_quiz("03", {}, 7, 8)
    progress.record_quiz("03", {}, 2, 8)
    assert (progress.read()["quizzes"]["03"]["right"], progress.read()["quizzes"]["03"]["best"]) == (2, 7)
    progress.record_hint("03.1", 3)
    progress.record_hint("03.1", 1)
    assert progress.read()["hints"]["03.1"] == 3


DAMAGED = {
    "empty": "",
    "half a file": '{"version": 1, "lessons": {"03"',
    "no text": b"\xff\xfe\x00\x01",
    "another type": "[]",
    "no version": "{}",
    "a later version": '{"version": 2, "lessons": {}}',
    "a section that is a list": '{"version": 1, "lessons": []}',
    "an entry that is a number": '{"version": 1, "questions": {"03.1": 4}}',
    "a prediction that is text": '{"version": 1, "predictions": {"a": "b"}}',
    "deeply nested": "[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_kept_aside_and_work_goes_on(progress_file, content):
    progress_file.parent.mkdir()
    raw = content if isinstance(content, bytes) else content.encode()
    progress_file.write_bytes(raw)
    with pytest.warns(ProgressWarning, match=r"kept as progress\.damaged-1\.json"):
        progress.record_points("03.1", 4)
    assert (progress_file.parent / "progress.damaged-1.json").read_bytes() == raw
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert progress.read()["questions"]["03.1"]["points"] == 4


def test_damaged_files_never_overwrite_each_other(progress_file):
    progress_file.parent.mkdir()
    for _ in range(3):
        progress_file.write_text("broken")
        with pytest.warns(ProgressWarning):
            progress.read()
    kept = sorted(file.name for file in progress_file.parent.glob("*damaged*"))
    assert kept == [f"progress.damaged-{number}.json" for number in (1, 2, 3)]


def test_a_huge_file_is_not_read(progress_file, monkeypatch):
    monkeypatch.setattr(progress, "LARGEST_FILE", 100)
    progress_file.parent.mkdir()
    progress_file.write_text(" " * 101)
    with pytest.warns(ProgressWarning, match="far too large"):
        assert progress.read()["lessons"] == {}


def test_unknown_keys_of_a_good_file_are_kept(progress_file):
    progress_file.parent.mkdir()
    progress_file.write_text('{"version": 1, "note": "mine"}')
    progress.record_points("03.1", 4)
    assert json.loads(progress_file.read_text())["note"] == "mine"


def test_a_place_that_cannot_be_written_warns_once_and_keeps_in_memory(progress_file, tmp_path, monkeypatch):
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("COURSE_PROGRESS", str(blocked / "progress.json"))
    with pytest.warns(ProgressWarning, match="kept in memory") as caught:
        progress.record_points("03.1", 4)
        progress.record_points("03.2", 4)
    assert len(caught) == 1
    assert set(progress.read()["questions"]) == {"03.1", "03.2"}


def test_a_folder_with_the_name_of_the_file_does_not_stop_a_learner(progress_file):
    progress_file.mkdir(parents=True)
    with pytest.warns(ProgressWarning):
        progress.record_points("03.1", 4)
        progress.record_points("03.2", 4)
    assert set(progress.read()["questions"]) == {"03.1", "03.2"}


def test_progress_in_memory_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "memory")
    monkeypatch.chdir(tmp_path)
    progress.record_points("03.1", 4)
    taken = progress.read()
    taken["questions"].clear()
    assert progress.read()["questions"]["03.1"]["points"] == 4 and os.listdir(tmp_path) == []
    progress.reset()
    assert progress.read()["questions"] == {}


def test_a_failed_write_keeps_the_old_file(progress_file, monkeypatch):
    progress.record_points("03.1", 4)
    before = progress_file.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(ProgressWarning, match="No space left"):
        progress.record_points("03.2", 4)
    assert progress_file.read_bytes() == before
    assert not list(progress_file.parent.glob("*.partial"))
    assert set(progress.read()["questions"]) == {"03.1", "03.2"}


def test_two_processes_keep_each_others_changes(progress_file):
    code = (
        "import sys; from course_lib.learning import progress\n"
        "for n in range(40): progress.record_points(f'{sys.argv[1]}.{n}', 1)"
    )
    running = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, lesson]) for lesson in ("01", "02")]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert len(progress.read()["questions"]) == 80


def test_a_lock_that_is_never_released_does_not_stop_a_learner(progress_file, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(progress, "LOCK_SECONDS", 0.05)
    progress_file.parent.mkdir()
    with FileLock(f"{progress_file}.lock"):
        progress.record_points("03.1", 4)
    assert progress.read()["questions"]["03.1"]["points"] == 4


def test_reset_deletes_all_progress(progress_file):
    progress.record_points("03.1", 4)
    progress.reset()
    assert not progress_file.exists() and progress.read()["questions"] == {}


def test_the_usual_place_is_in_the_users_data_folder(monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS")
    assert progress.location().name == "progress.json" and progress.location().is_absolute()
