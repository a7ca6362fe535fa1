"""The figures of pruning."""

from course_lib.core.palette import LIGHT
from tests.plots.examples import PICTURES, SPARSITIES


def test_lines_have_the_colours_of_the_course_and_different_markers():
    axes = PICTURES["accuracy"]().axes[0]
    lines = {line.get_color(): line.get_marker() for line in axes.lines if len(line.get_xdata()) == len(SPARSITIES)}
    assert lines == {LIGHT["before"]: "s", LIGHT["kept"]: "o"}


def test_the_alternative_text_names_the_most_sensitive_layer():
    assert "most is lost in conv1 at 90 % cut: 18.0 points" in PICTURES["sensitivity"]().alt
