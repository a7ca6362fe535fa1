"""The text of a hostile answer is shown as plain text: in the page, the tables and the record of a student."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from course_lib.grading import class_files, feedback
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission
from course_lib.grading.shortcut_detection import Flag, FlagKind
from tests.hostile.conftest import TARGET

KINDS = {
    "html": "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>",
    "javascript": "\"'><svg/onload=alert(1)><a href='javascript:alert(1)'>x</a>",
    "markdown": "[x](javascript:alert(1)) ![](http://example.org/x.png) <iframe src=//example.org>",
    "ansi": "\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b]8;;http://example.org\x07link\x1b]8;;\x07",
    "formula": '=HYPERLINK("http://example.org","click")|cmd|\'/c calc\'!A1',
    "direction": "admin\u202egnp.exe\u2066\u200b\u200f\ufeff",
    "surrogates and zeros": "a\x00b\ud800c\udfff",
    "very long": "<b>" * 100_000,
}


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, tuple(attributes)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_message_is_only_text(grader, tmp_path, kind):
    source = (
        f"def dense_bytes(shapes, dtype):\n    raise type({KINDS[kind][:40]!r}, (Exception,), {{}})({KINDS[kind]!r})\n"
    )
    verdict = grader.decide({TARGET: source})[TARGET]
    assert not verdict.passed and verdict.status in ("error", "wrong", "stopped")
    question = GradedQuestion(TARGET, 0.0, 3.0, Status.ERROR, verdict.details, (Flag(FlagKind.SOLUTION, KINDS[kind]),))
    result = GradedSubmission(KINDS[kind], "bwrap", "k", "01", questions=(question,))
    class_files.write([result], tmp_path)
    (page,) = (tmp_path / "feedback").glob("*.html")
    found, harmless = Tags(), Tags()
    found.feed(page.read_text(encoding="utf-8"))
    harmless.feed(feedback.page(replace(result, student="x", questions=(replace(question, details="x"),)), {}))
    assert found.found == harmless.found
    for name in ("grades.csv", "flags.csv"):
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            cells = [value for row in csv.reader(file) for value in row]
        assert not any(value.startswith(feedback.FORMULA_STARTS) or "\x1b" in value for value in cells)
    record = json.loads((tmp_path / "results.json").read_text())
    assert not set(json.dumps(record, ensure_ascii=False)) & set("\u202e\u2066\u200b\x1b\x00")
