"""Small HTML builders escape what they are given."""

from __future__ import annotations

from course_lib.learning.style import bare, rich


def test_text_is_escaped_before_it_is_marked_up():
    assert rich("`a < b` and *so* on <b>") == "<code>a &lt; b</code> and <em>so</em> on &lt;b&gt;"
    assert rich("2 * 3 * 4") == "2 * 3 * 4"
    assert bare("`weight` is *the* one") == "weight is the one"
