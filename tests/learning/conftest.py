"""Each test has a progress file of its own, and the questions that it declares are forgotten afterwards."""

from __future__ import annotations

import pytest

from course_lib.learning import progress, questions


@pytest.fixture(autouse=True)
def progress_file(tmp_path, monkeypatch):
    path = tmp_path / "learner" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    monkeypatch.setenv("COURSE_STRICT_WIDGETS", "1")
    yield path
    progress._in_memory.clear()


@pytest.fixture(autouse=True)
def own_questions():
    yield
    for declared in (questions._questions, questions._probes):
        for name in [name for name in declared if name.startswith("99.")]:
            del declared[name]


@pytest.fixture
def declare():
    """Declares question 99.N around a check and returns its id."""

    def make(check, number=1, points=4):
        name = f"99.{number}"
        questions.question(
            name, points=points, minutes=5, difficulty=2, title="A trial", hints=("look", "look closer", "nearly there")
        )(check)
        return name

    return make
