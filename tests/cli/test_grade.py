"""course grade: each mistake of the instructor is one line, and nobody is graded because of it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from course_lib.cli.app import app
from course_lib.grading import batch


@pytest.fixture
def grade(tmp_path, monkeypatch):
    """Run the command on a class of one; grading anybody is an error."""
    monkeypatch.setenv("COURSE_GRADING_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(batch, "grade_one", lambda *_: pytest.fail("somebody was graded"))
    (tmp_path / "submitted" / "anna").mkdir(parents=True)
    (tmp_path / "submitted" / "anna" / "03.ipynb").write_text("{}")

    def run(*options):
        return CliRunner().invoke(app, ["grade", str(tmp_path / "submitted"), "--out", str(tmp_path / "out"), *options])

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "-1"), "course: workers must be at least 1, got -1"),
        (("--workers", "0"), "course: workers must be at least 1, got 0"),
        (("--due", "2026-11-30", "--late-penalty", "10%/day"), "course: due must have a time, such as 2026"),
        (("--due", "2026-11-30T23:59"), "course: --due and --late-penalty must be given together"),
        (("--gradebook", "sqlite:////nowhere/x.db"), "course: nobody was graded: gradebook sqlite:"),
        (("--limit", "notebook_mb=0"), "course: notebook_mb must be greater than 0, got 0"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(grade, options, message):
    done = grade(*options)
    assert done.exit_code == 2 and done.output.startswith(message) and done.output.count("\n") == 1


def test_an_interruption_is_one_line(grade, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "grade_found", interrupted)
    done = grade()
    assert done.exit_code == 1
    assert done.output == "course: interrupted; what is graded is kept, and the same command goes on\n"


def test_without_a_home_folder_the_variable_is_named(grade, monkeypatch):
    for name in ("COURSE_GRADING_STATE", "HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987_654)  # a user id without a name
    done = grade()
    assert done.exit_code == 2 and "set COURSE_GRADING_STATE to a private folder" in done.output
