"""The figures of architecture search."""

from course_lib import plots
from tests.plots.examples import PICTURES


def test_the_alternative_text_names_every_slice_from_large_to_small():
    assert "largest uses 64 × 48; smallest uses 16 × 24" in PICTURES["slices"]().alt


def test_the_alternative_text_of_subnets_says_range_front_and_mark():
    assert "3 networks from 88.0 to 91.0 %; 2 on the front; found 91.0 %" in PICTURES["subnets"]().alt


def test_networks_can_be_drawn_without_a_front():
    assert "front" not in plots.accuracy_cost([1.0, 2.0], [0.5, 0.6], title="Nets", x_label="ms").alt
