"""The figure of rates and distortions."""

from course_lib import plots
from tests.plots.examples import PICTURES, RATES


def test_the_alternative_text_says_where_each_curve_ends():
    assert "uniform 16.6 dB at 3.0 bits; k-means 15.1 dB at 3.0 bits" in PICTURES["rates"]().alt


def test_points_with_too_many_bits_are_left_out():
    assert "at 2.0 bits" in plots.rate_distortion(RATES, title="A layer", most_bits=2.5).alt
