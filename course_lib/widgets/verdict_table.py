"""The table that ends a lesson: what was claimed, what was found, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence

from course_lib.widgets import components
from course_lib.widgets.theme import stylesheet

Claim = tuple[str, str, str, str, str]


class Picture:
    """HTML that Jupyter shows in the colours of its theme, and words that stand for it where there is no HTML."""

    def __init__(self, html: str, words: str) -> None:
        self.html, self.words = html, words

    def __repr__(self) -> str:
        return self.words

    def _repr_html_(self) -> str:
        return f'{stylesheet()}<div class="course-panel">{self.html}</div>'


def verdicts(rows: Sequence[Claim], *, found: str = "found") -> Picture:
    """A table of claims: claim, what it said, what was ``found``, kind of verdict, and the reason in words.

    Raises:
        ValueError: if a kind is not one of ``course_lib.calculator.verdicts.KINDS``.
    """
    judged = [(claim, said, seen, components.Verdict(kind, reason)) for claim, said, seen, kind, reason in rows]
    words = "\n".join(f"{claim}: said {said}, {found} {seen}; {verdict}" for claim, said, seen, verdict in judged)
    header = ("claim", "said", found, "verdict")
    return Picture(components.table(header, judged, caption="Claims and verdicts"), words)
