"""Feedback is safe to open: no script, no formula, no direction tricks, no expected values."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from course_lib.grading import feedback, outcome
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion
from tests.grading.conftest import EVIL
from tests.grading.conftest import evil_result as result


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
    assert any(attributes.get("content") == feedback.CONTENT_SECURITY for _, attributes in page.found)


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


@pytest.mark.parametrize("status", Status)
def test_every_status_has_an_advice_that_the_page_shows(status):
    question = replace(result("x").questions[0], status=status, details="")
    assert f">{outcome.ADVICE[status]}</td>" in feedback.page(replace(result("x"), questions=(question,)), {})


def test_points_and_late_penalty():
    questions = tuple(GradedQuestion("01.1", points, 5.0, Status.PASSED) for points in (4.0, 3.0))
    graded = replace(result("x"), questions=questions)
    late = replace(graded, late_penalty=0.1)
    assert feedback.total(graded) == 7 and feedback.total(late) == late.counts == 6.3
    assert "Late: 10% of the points are taken off." in feedback.page(late, {})


def test_points_that_were_set_by_hand_are_on_the_page_and_in_the_record():
    graded = replace(result("x"), manual={"01.1": 2.5})
    assert "2.5 of 3</td>" in feedback.page(graded, {}) and "x: <b>2.5 of 3 points" in feedback.page(graded, {})
    record = feedback.gradescope(graded, {})
    assert record["score"] == record["tests"][0]["score"] == 2.5
    assert record["tests"][0]["output"].endswith("The points were set by the instructor.")


def test_files_that_were_not_graded_are_on_the_page_and_in_the_record():
    graded = replace(result("x"), problem="", others=("x/03 (1).ipynb: an earlier attempt, not graded",))
    assert "03 (1).ipynb: an earlier attempt" in feedback.page(graded, {})
    assert feedback.gradescope(graded, {})["output"] == graded.others[0]


def test_the_gradescope_record_has_scores_and_names():
    record = feedback.gradescope(result("boom"), {"01.1": "Bytes"})
    assert record["tests"][0]["name"] == "01.1 Bytes" and record["tests"][0]["max_score"] == 3.0
    assert record["score"] == 0 and record["tests"][0]["status"] == "failed"
