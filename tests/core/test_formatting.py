"""Numbers have three significant digits and a unit; labels are moved apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.core.formatting import byte_size, compact, duration, spread


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999.4, "999"), (999.6, "1k"), (1_180_000, "1.18M"), (17.5e9, "17.5B"), (-2.5e12, "-2.5T")],
)
def test_counts(value, text):
    assert compact(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (640, "640 bytes"),
        (12_000, "12 kB"),
        (5_900_000, "5.90 MB"),
        (70e9, "70 GB"),
        (1e12, "1,000 GB"),
    ],
)
def test_sizes(count, text):
    assert byte_size(count) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0.614, "0.614 ms"), (13.7, "13.7 ms"), (13_700, "13.7 s"), (2_500_000, "2,500 s")],
)
def test_durations(milliseconds, text):
    assert duration(milliseconds) == text


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8))
def test_spread_keeps_the_order_and_the_gap(positions):
    placed = spread(positions, 5.0)
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    moved = [placed[index] for index in order]
    assert all(after - before >= 5.0 - 1e-9 for before, after in zip(moved, moved[1:], strict=False))
