"""What comes back is safe to open: no script, no formula, no direction tricks, no expected values."""

import csv
from html.parser import HTMLParser

import pytest

from course_lib.grading import classroom, feedback, shortcut_detection, similarity

EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "[x](javascript:alert(1)) ![](http://example.org/x.png)",
    "\x1b[2J\x1b]0;title\x07red\x1b[31m",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "admin\u202egnp.exe\u2066\u200b",
    "a\r\nb\x00c\ud800",
    "x" * 100_000,
]


def result(text):
    entry = {"question": "01.1", "points": 0.0, "max_points": 3.0, "status": "error", "message": text, "flags": [text]}
    return {
        "student": text, "assignment": "01_compression_calculator", "problem": text, "questions": [entry],
        "max_points": 3.0, "level": "bwrap", "answers": {"01.1": text}, "key": "k",
    }  # fmt: skip


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.mark.parametrize("text", EVIL)
def test_a_page_holds_no_tag_and_no_attribute_of_the_learners(text):
    page, clean = Tags(), Tags()
    page.feed(feedback.page(result(text), {}))
    clean.feed(feedback.page(result("harmless"), {}))
    assert page.found == clean.found
    assert any(attributes.get("content") == feedback.POLICY for _, attributes in page.found)


def test_what_would_pass_the_escaping_is_taken_out_of_the_page(monkeypatch):
    monkeypatch.setattr(feedback, "_escaped", str)
    page = Tags()
    page.feed(feedback.page(result("<script>alert(1)</script><b onclick='x()'>y</b><iframe src=//e.org>"), {}))
    assert {tag for tag, _ in page.found} <= feedback.TAGS | {"html", "head", "meta", "title", "style", "body"}
    assert not any(name.startswith("on") or name in ("src", "href") for _, found in page.found for name in found)


@pytest.mark.parametrize("text", EVIL)
def test_cleaned_text_is_one_printable_line(text):
    cleaned = feedback.clean(text)
    assert cleaned.isprintable() and len(cleaned) <= feedback.TEXT_LIMIT and cleaned.encode("utf-8") is not None
    assert not set(cleaned) & set("\u202e\u2066\u200b\x1b\x00")


@pytest.mark.parametrize("text", EVIL)
def test_no_cell_of_a_table_is_a_formula(tmp_path, text):
    classroom.write([result(text)], tmp_path, {})
    for name in ("grades.csv", "flags.csv", "similar.csv"):
        with (tmp_path / name).open(newline="") as file:
            for row in csv.reader(file):
                assert not any(value.startswith(("=", "+", "-", "@", "\t")) for value in row)
    assert all(path.parent == tmp_path / "feedback" for path in tmp_path.rglob("*.html"))
    assert len(list((tmp_path / "feedback").iterdir())) == 2


def test_a_student_cannot_choose_a_path(tmp_path):
    classroom.write([result("../../etc/passwd"), result("/root/.bashrc")], tmp_path, {})
    names = sorted(path.name for path in (tmp_path / "feedback").glob("*.html"))
    assert all(name.startswith(("etcpasswd-", "rootbashrc-")) for name in names) and len(names) == 2


def test_points_and_late_penalty():
    graded = result("x") | {"questions": [{"points": 4.0}, {"points": 3.0}]}
    assert feedback.total(graded) == 7 and feedback.total(graded, 0.1) == 6.3
    with pytest.raises(ValueError, match=r"penalty must lie in \[0, 1\], got 2"):
        feedback.total(graded, 2)


def test_the_gradescope_record_has_scores_and_names():
    record = feedback.gradescope(result("boom"), {"01.1": "Bytes"})
    assert record["tests"][0]["name"] == "01.1 Bytes" and record["tests"][0]["max_score"] == 3.0
    assert record["score"] == 0 and record["tests"][0]["status"] == "failed"


@pytest.mark.parametrize(
    ("source", "flag"),
    [
        ("from course_lib import pruning", "uses course_lib.pruning"),
        ("import torch.nn.utils.prune as p", "uses torch.nn.utils.prune"),
        ("def f(): return torch.nn.utils.prune.l1_unstructured", "uses torch.nn.utils.prune"),
        ("from course_lib.learning.exercises.reference_10 import layer_map", "uses course_lib.learning.exercises"),
        ("from course_lib.learning.exercises import exercise_10 as one", "uses course_lib.learning.exercises"),
        ("import course_lib.learning.exercises", "uses course_lib.learning.exercises"),
        ("import os", "imports os"),
        ("__import__('course_lib')", "uses __import__"),
        ("f.__globals__", "uses __globals__"),
        ("import importlib\nimportlib.import_module('course_lib.pruning')", "imports importlib"),
        ("modules['course_lib.pruning'].f", "names course_lib.pruning in a text, which may be the solution itself"),
        ("%matplotlib inline\nfrom course_lib import pruning", "uses magics"),
        ("%%time\nfrom course_lib import pruning", "uses magics"),
        ("x = !ls\nfrom course_lib import pruning", "is no plain Python"),
    ],
)
def test_shortcuts_are_flagged(source, flag):
    assert any(found.startswith(flag) for found in shortcut_detection.flags(source))


def test_a_magic_hides_no_shortcut():
    assert "uses course_lib.pruning, which may be the solution itself" in shortcut_detection.flags(
        "%%capture\nfrom course_lib import pruning\ndef f(x): return pruning.f(x)"
    )


HELPER = "from course_lib.learning.exercises.small_network import layer_sizes"


@pytest.mark.parametrize("source", ["import torch, math", "def f(x): return x", "def f(:", "f(" * 10_000, HELPER])
def test_ordinary_and_broken_answers_are_not(source):
    assert shortcut_detection.flags(source) == []


def test_the_policy_can_take_points_off():
    entry = {
        "question": "01.1",
        "points": 3.0,
        "status": "passed",
        "message": "",
        "flags": ["uses x, the solution itself"],
    }
    graded = {"questions": [entry, entry | {"flags": ["imports os"]}]}
    assert [one["points"] for one in classroom.apply_policy(graded, "zero")["questions"]] == [0.0, 3.0]
    assert classroom.apply_policy(graded, "report") is graded


def test_an_unknown_policy_is_refused_before_anything_is_graded(tmp_path):
    with pytest.raises(ValueError, match="on_flag must be one of 'report', 'zero'; got 'maybe'"):
        classroom.grade_class([tmp_path], tmp_path / "out", on_flag="maybe")
    assert not (tmp_path / "out").exists()


ANSWER = """
def f(weights, share):
    total = sum(len(row) for row in weights)
    order = sorted(range(total), key=lambda place: abs(weights[place]))
    return [place not in order[: round(share * total)] for place in range(total)]
"""


def test_renamed_copies_are_found_and_different_answers_are_not():
    renamed = ANSWER.replace("weights", "w").replace("order", "ranking").replace("place", "i").replace("f(", "g(")
    other = """
def f(weights, share):
    limit = torch.quantile(weights.abs(), share)
    mask = weights.abs() > limit
    while mask.sum() < 3:
        limit = limit * 0.9
        mask = weights.abs() > limit
    return mask
"""
    results = [
        {"student": name, "questions": [{"question": "03.1"}], "answers": {"03.1": source}}
        for name, source in (("anna", ANSWER), ("ben", renamed), ("cleo", other), ("dora", "x = 1"))
    ]
    (pair,) = similarity.report(results)
    assert (pair.first, pair.second, pair.similarity) == ("anna", "ben", 1.0)
