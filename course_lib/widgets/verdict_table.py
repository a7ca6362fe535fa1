"""The table that ends a lesson: claim, finding, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence

from course_lib.widgets import components
from course_lib.widgets.theme import stylesheet

Claim = tuple[str, str, str, str, str]


class VerdictTable:
    """HTML that Jupyter displays in the colours of its theme, and plain text for other places."""

    def __init__(self, html: str, words: str) -> None:
        self.html, self.words = html, words

    def __repr__(self) -> str:
        return self.words

    def _repr_html_(self) -> str:
        return f'{stylesheet()}<div class="course-panel">{self.html}</div>'


def verdicts(rows: Sequence[Claim], *, found: str = "found") -> VerdictTable:
    """A table from rows of claim, claimed figure, ``found`` figure, kind of verdict, and its reason.

    Raises:
        ValueError: if a kind is not one of ``course_lib.calculator.verdicts.KINDS``.
    """
    judged = [(claim, said, figure, components.Verdict(kind, reason)) for claim, said, figure, kind, reason in rows]
    words = "\n".join(f"{claim}: said {said}, {found} {figure}; {verdict}" for claim, said, figure, verdict in judged)
    header = ("claim", "said", found, "verdict")
    return VerdictTable(components.table(header, judged, caption="Claims and verdicts"), words)
