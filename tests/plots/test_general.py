"""Figures of several lessons."""

from tests.plots.examples import PICTURES


def test_the_alternative_text_says_size_and_accuracy_of_each_model():
    assert "95 % 3.1 MB, 98.5 %" in PICTURES["front"]().alt


def test_the_alternative_text_says_each_bar_and_the_end_of_each_curve():
    assert "ResNet18, fp32 44.7, int8 11.2" in PICTURES["bars"]().alt
    assert "with a teacher ends at 1; without ends at 1.5" in PICTURES["curves"]().alt
