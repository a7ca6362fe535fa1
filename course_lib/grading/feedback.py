"""Feedback for a student: points and advice per question, as an HTML page and as a Gradescope record.

It contains no expected value. Text of a learner (names, error messages) is cleaned of control and direction
characters and escaped; the page runs no script and loads nothing.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from course_lib.grading.outcome import ADVICE, Status
from course_lib.grading.results import GradedQuestion, GradedSubmission

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-_])")
TEXT_LIMIT = 500
REMEDY = "Hand in the .ipynb file as Jupyter saved it, one for each exercise, not packed."
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "|", "%")
TAGS = {"h1", "p", "b", "table", "tbody", "tr", "th", "td"}
CONTENT_SECURITY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1f2933}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;"
    "border-bottom:1px solid #d9dfe4}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".passed{color:#009E73}.missing{color:#D55E00}"
)


def clean(text: Any, limit: int = TEXT_LIMIT) -> str:
    """One line of printable text: no terminal sequences, no control or direction characters, at most ``limit``."""
    plain = ANSI.sub("", str(text))
    plain = "".join(" " if character in "\n\r\t" else character for character in plain)
    plain = "".join(one for one in plain if unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def cell(text: Any) -> str:
    """Text for a CSV file that a spreadsheet does not take for a formula."""
    plain = clean(text)
    return f"'{plain}" if plain.startswith(FORMULA_STARTS) else plain


def total(result: GradedSubmission) -> float:
    """Automatic points of a result, less its late penalty, rounded to 2 digits."""
    return round(result.points * (1 - result.late_penalty), 2)


def page(result: GradedSubmission, titles: Mapping[str, str]) -> str:
    """The HTML feedback of one student.

    Args:
        titles: question id → title, text of the course.
    """
    rows = "".join(_row(one, titles.get(one.question, ""), result.manual) for one in result.questions)
    late = f"<p>Late: {result.late_penalty:.0%} of the points are taken off.</p>" if result.late_penalty else ""
    problem = f"<p class='missing'>{_escaped(_problem(result))}</p>" if result.problem else ""
    others = "".join(f"<p>{_escaped(other)}</p>" for other in result.others)
    notes = "".join(f"<p>{_escaped(note)}</p>" for note in result.notes)
    body = (
        f"<h1>{_escaped(result.assignment or 'Not graded')}</h1><p>{_escaped(result.student)}: "
        f"<b>{result.counts:g} of {result.max_points:g} points</b></p>{late}{problem}{others}"
        f"<table><tbody><tr><th>Question</th><th>Points</th><th>What was found</th></tr>{rows}</tbody></table>{notes}"
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY}">'
        f"<title>Feedback</title><style>{STYLE}</style></head><body>{_only_known_tags(body)}</body></html>\n"
    )


def gradescope(result: GradedSubmission, titles: Mapping[str, str]) -> dict[str, Any]:
    """The record that Gradescope reads from ``results.json``."""
    tests = [
        {
            "name": f"{one.question} {titles.get(one.question, '')}".strip(),
            "score": result.manual.get(one.question, one.points),
            "max_score": one.max_points,
            "status": "passed" if one.status is Status.PASSED else "failed",
            "output": _finding(one, result.manual),
            "output_format": "text",
        }
        for one in result.questions
    ]
    return {
        "score": result.counts,
        "output": " ".join(clean(line) for line in (_problem(result), *result.others, *result.notes) if line),
        "output_format": "text",
        "tests": tests,
    }


def _row(one: GradedQuestion, title: str, manual: Mapping[str, float]) -> str:
    kind = "passed" if one.status is Status.PASSED else "missing"
    return (
        f"<tr><td>{_escaped(one.question)} {_escaped(title)}</td><td class='n'>"
        f"{manual.get(one.question, one.points):g} of "
        f"{one.max_points:g}</td><td class='{kind}'>{html.escape(_finding(one, manual))}</td></tr>"
    )


def _finding(one: GradedQuestion, manual: Mapping[str, float]) -> str:
    by_hand = " The points were set by the instructor." if one.question in manual else ""
    return f"{ADVICE[one.status]} {clean(one.details)}".strip() + by_hand


def _problem(result: GradedSubmission) -> str:
    """Why a submission was not graded, and what the student can do about it."""
    if not result.problem or result.set_aside:
        return result.problem
    return f"Not graded: {clean(result.problem, 150)}. {REMEDY}"


def _only_known_tags(body: str) -> str:
    """Remove all tags but those of the page, in case something passes the escaping."""
    import nh3

    return nh3.clean(body, tags=TAGS, attributes={"p": {"class"}, "td": {"class"}}, link_rel=None)


def _escaped(text: Any) -> str:
    return html.escape(clean(text))
