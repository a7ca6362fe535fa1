"""The table of verdicts that ends a lesson."""

from __future__ import annotations

import pytest

from course_lib.widgets import verdict_table


def test_a_verdict_stands_in_words_and_its_kind_is_checked():
    picture = verdict_table.verdicts([("90 % sparse", "10×", "1.0×", "does not hold", "zeros are multiplied too")])
    assert repr(picture) == "90 % sparse: said 10×, found 1.0×; does not hold: zeros are multiplied too"
    assert "zeros are multiplied too" in picture._repr_html_()
    with pytest.raises(ValueError, match="kind"):
        verdict_table.verdicts([("claim", "a", "b", "perhaps", "")])
