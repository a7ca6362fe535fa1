"""The figures of low-rank factorization."""

from course_lib import lowrank
from tests.plots.examples import PICTURES


def test_the_alternative_text_says_break_even_and_banks():
    assert lowrank.break_even_rank(16, 75) == 13
    assert "break-even is rank 13" in PICTURES["energy"]().alt
    assert "as trained, zeros" in PICTURES["filters"]().alt
