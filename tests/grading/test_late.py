"""A late submission loses the points that the rule says, by the time in its files."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from course_lib.grading import building, intake, late

DUE = "2026-11-30T23:59+00:00"


def at(hours: float) -> datetime:
    return datetime.fromisoformat(DUE) + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("penalty", "hours", "expected"),
    [
        ("10%/day", -1, 0.0),
        ("10%/day", 0, 0.0),
        ("10%/day", 0.1, 0.1),
        ("10%/day", 24, 0.1),
        ("10%/day", 24.1, 0.2),
        ("10%/day", 24 * 30, 1.0),
        ("2.5%/hour", 1.5, 0.05),
        ("20%", 1, 0.2),
        ("20%", 1000, 0.2),
        ("0%/day", 5, 0.0),
    ],
)
def test_each_unit_that_has_begun_counts(penalty, hours, expected):
    assert late.rule(DUE, penalty).penalty(at(hours)) == pytest.approx(expected)


@pytest.mark.parametrize("penalty", ["10", "10%/week", "-1%", "101%", "10 %/day", ""])
def test_a_rule_that_cannot_be_read_is_refused(penalty):
    with pytest.raises(ValueError, match="late penalty must be like 20%, 1%/hour or 10%/day, got"):
        late.rule(DUE, penalty)


def test_a_date_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="due must be a date and time such as"):
        late.rule("30.11.2026", "10%/day")


def notebook(folder, student, when):
    file = folder / "submitted" / student / "01_x" / "01_x.ipynb"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    os.utime(file, (when.timestamp(), when.timestamp()))
    return file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01 12:00:00.5 UTC", 0.1),
        ("2026-12-01 12:00:00 Europe/Berlin", 0.1),
        ("2026-12-01 00:30:00 Europe/Berlin", 0.0),
        ("2026-12-01T12:00:00+00:00", 0.1),
        ("\ufeff2026-12-01 12:00:00 UTC", 0.1),
        ("2026-12-01 12:00:00 -0500", 0.1),
        ("2026-12-01T12:00:00.5-0500", 0.1),
        ("2026-11-30 18:58:00 -0500", 0.0),
        ("2026-11-30 18:58:00 EST", 0.0),
        ("2026-11-30 15:58:00 PST", 0.0),
        ("2026-12-01 12:00:00 PST", 0.1),
        ("2026-11-30 19:58:00 EDT", 0.0),
        ("2026-12-01 01:58:00 CEST", 0.0),
        ("2026-12-01 02:00:00 CEST", 0.1),
        ("yesterday", 0.0),
        ("2026-12-01 12:00:00 ../../etc/passwd", 0.0),
        ("x" * 300, 0.0),
        ("", 0.0),
    ],
)
def test_the_timestamp_of_nbgrader_counts_if_it_can_be_read(tmp_path, text, expected):
    file = notebook(tmp_path, "anna", at(50))
    file.with_name("timestamp.txt").write_text(text)
    found = late.penalties(intake.collect([tmp_path / "submitted"]), late.rule(DUE, "10%/day"))
    assert found.get(("anna", "01"), 0.0) == pytest.approx(expected)


def test_a_timestamp_that_is_a_link_is_not_followed(tmp_path):
    file = notebook(tmp_path, "anna", at(50))
    (tmp_path / "early").write_text("2026-11-01 12:00:00 UTC")
    file.with_name("timestamp.txt").symlink_to(tmp_path / "early")
    (one,) = intake.collect([tmp_path / "submitted"])
    assert late.handed_in(one) == at(50)


def test_without_it_the_times_of_file_and_zip_entry_count(tmp_path):
    notebook(tmp_path, "anna", at(-5))
    notebook(tmp_path, "ben", at(5))
    entry = zipfile.ZipInfo("cleo/01_x.ipynb", (2026, 12, 5, 12, 0, 0))
    with zipfile.ZipFile(tmp_path / "submitted" / "export.zip", "w") as archive:
        archive.writestr(entry, "{}")
    found = late.penalties(intake.collect([tmp_path / "submitted" / "anna", tmp_path / "submitted" / "ben",
                                           tmp_path / "submitted" / "export.zip"]), late.rule(DUE, "20%"))  # fmt: skip
    assert list(found.values()) == [0.2, 0.2] and ("cleo", "01") in found


def test_times_that_a_student_wrote_are_ignored(tmp_path):
    folder = tmp_path / "submitted" / "anna"
    folder.mkdir(parents=True)
    (folder / "01.ipynb").write_text("{}")
    (folder / "timestamp.txt").write_text("2026-11-01 12:00:00 UTC")
    with zipfile.ZipFile(folder / "mine.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("01.ipynb", (2026, 11, 1, 12, 0, 0)), "{}")
        archive.writestr(zipfile.ZipInfo("02.ipynb", (2026, 11, 1, 12, 0, 0)), "{}")
    for name in ("01.ipynb", "mine.zip"):
        os.utime(folder / name, (at(5).timestamp(), at(5).timestamp()))
    found = late.penalties(intake.collect([tmp_path / "submitted"]), late.rule(DUE, "20%"))
    assert found == {("anna", "01"): 0.2, ("anna", "02"): 0.2}


def test_a_zip_file_in_an_export_has_the_time_that_the_system_gave_it(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(zipfile.ZipInfo("01.ipynb", (2026, 11, 1, 12, 0, 0)), "{}")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        entry = zipfile.ZipInfo("Ben_1_assignsubmission_file_/w.zip", (2026, 12, 5, 12, 0, 0))
        archive.writestr(entry, inner.getvalue())
    (one,) = intake.collect([tmp_path / "export.zip"])
    assert late.handed_in(one).replace(tzinfo=None) == datetime(2026, 12, 5, 12, 0, 0)


def test_a_time_that_cannot_be_read_is_listed(tmp_path):
    file = notebook(tmp_path, "anna", at(50))
    file.with_name("timestamp.txt").write_text("2026-12-01 12:00:00 CST")
    (one,) = intake.collect([tmp_path / "submitted"])
    assert "cannot be read ('2026-12-01 12:00:00 CST'), so no late penalty" in late.unreadable_time(one)


def test_the_time_in_blackboards_names_counts(tmp_path):
    (tmp_path / "HW_jdoe_attempt_2026-12-02-10-00-00_01.ipynb").write_text("{}")
    (one,) = intake.collect([tmp_path])
    assert late.handed_in(one).replace(tzinfo=None) == datetime(2026, 12, 2, 10, 0, 0)


BERLIN = """
from datetime import datetime
from course_lib.grading import late
for due, handed_in in (
    ("2026-10-24T20:00", "2026-10-25T19:30"), ("2026-10-24T20:00", "2026-10-25T20:30"),
    ("2026-03-28T20:00", "2026-03-29T19:30"), ("2026-03-28T20:00", "2026-03-29T20:30"),
):
    moment = datetime.fromisoformat(handed_in).astimezone()
    print(late.rule(due, "10%/day").penalty(moment), late.rule(due, "1%/hour").penalty(moment))
"""


def test_days_are_counted_on_the_local_clock_where_it_changes():
    """The clock is put back in the night to 2026-10-25 and forward in the night to 2026-03-29; hours are elapsed."""
    told = subprocess.run(
        [sys.executable, "-c", BERLIN], env={**os.environ, "TZ": "Europe/Berlin"}, cwd=building.ROOT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.split() == ["0.1", "0.25", "0.2", "0.26", "0.1", "0.23", "0.2", "0.24"]


@pytest.mark.parametrize("due", ["2026-11-30", "20261130"])
def test_a_due_date_without_a_time_is_refused(due):
    with pytest.raises(ValueError, match="due must have a time, such as 2026-11-30T23:59, got"):
        late.rule(due, "10%/day")


def test_times_have_a_zone(tmp_path):
    file = notebook(tmp_path, "anna", at(1))
    (one,) = intake.collect([file])
    assert late.handed_in(one).tzinfo is not None and late.handed_in(one).astimezone(UTC) == at(1)
