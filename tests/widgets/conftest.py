"""In tests, an error in a panel is raised."""

import pytest

from course_lib.widgets.panel import STRICT


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv(STRICT, "1")


@pytest.fixture
def moves():
    """Whether a panel changes its picture or its numbers when a control gets another value."""

    def change(panel, name, value) -> bool:
        before = panel.picture.value + panel.numbers.value
        panel.controls[name].value = value
        return panel.picture.value + panel.numbers.value != before

    return change
