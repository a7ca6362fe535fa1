"""The look of checks, hints and quizzes: stylesheet rules, and small HTML builders."""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path
from string import Template

from course_lib.core.palette import LIGHT

RULES = "\n" + Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def stylesheet() -> str:
    """The panels' stylesheet and the rules of this module, as ``<style>`` elements."""
    from course_lib.widgets.theme import stylesheet as panels

    return f"{panels()}<style>{RULES}</style>"


def page(body: str) -> str:
    """A self-contained HTML output: stylesheet and frame around ``body``."""
    return f'{stylesheet()}<div class="course-panel course-learn">{body}</div>'


def rich(text: str) -> str:
    """Escaped text in which `` `code` `` and ``*emphasis*`` are marked up."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False).strip())
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", marked)


def bare(text: str) -> str:
    """The same text without markup, for plain-text outputs."""
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"\1", text.replace("`", "").strip())


def line(kind: str, lead: str, text: str) -> str:
    """One line with a coloured edge, a bold lead, and rich text; ``kind`` is right, wrong, hint or empty."""
    classes = f"learn-line learn-{kind}" if kind else "learn-line"
    return f'<div class="{classes}"><b>{escape(lead)}</b> {rich(text)}</div>'


def soften(colour: str) -> None:
    """Let JupyterLab show the next error as a line with a coloured edge instead of a red background.

    The error itself is unchanged; other front ends show it as usual.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return
    from IPython.display import HTML, display

    output = Path(__file__).with_name("soft_error.html").read_text(encoding="utf-8")
    display(HTML(Template(output).substitute(mark=f"course-edge-{colour}", colour=LIGHT[colour])))
