"""The questions of the quizzes follow the schema and are graded with an explanation."""

from __future__ import annotations

import json
from collections import Counter

import jsonschema
import pytest
import yaml

from course_lib.learning import quiz
from course_lib.learning.quiz_questions import FOLDER, SCHEMA, load, names, read_number

TECHNIQUES = {
    "calculator", "profiling", "pruning", "quantization", "distillation", "low-rank", "coding", "nas", "production",
    "best-practices",
}  # fmt: skip
ALL = [(name, question) for name in names() for question in load(name).questions]
IDS = [f"{name}/{question.id}" for name, question in ALL]
SINGLE = [(name, question) for name, question in ALL if question.kind == "one"]


def raw(name):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", names())
def test_every_quiz_follows_the_schema(name):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(raw(name), schema)
    assert raw(name)["id"] == name


@pytest.mark.parametrize(
    "damage",
    [
        lambda q: q.pop("topic"),
        lambda q: q["options"][0].pop("because"),
        lambda q: q["options"][0].update(because="no"),
        lambda q: q["options"][0].update(right=False),
        lambda q: q.update(kind="many"),
        lambda q: q.update(answer=3),
        lambda q: q.update(options=q["options"][:2]),
        lambda q: q.update(typo=1),
    ],
)
def test_the_schema_refuses_a_damaged_question(damage):
    content = raw("00")
    damage(content["questions"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_there_are_enough_questions_for_every_lesson_and_technique():
    sizes = {name: len(load(name).questions) for name in names()}
    assert all(sizes[lesson] >= 6 for lesson in ("00", "01", "02", "03"))
    assert sizes["model-compression-techniques"] >= 26
    assert {question.topic for question in load("model-compression-techniques").questions} == TECHNIQUES


def test_ids_and_texts_are_unique_over_all_quizzes():
    for name in names():
        ids = [question.id for question in load(name).questions]
        assert len(set(ids)) == len(ids)
    texts = [question.text for _, question in ALL]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("name", "question"), ALL, ids=IDS)
def test_each_question_has_the_right_number_of_right_options(name, question):
    right = [option for option in question.options if option.right]
    texts = [option.text for option in question.options]
    assert len(set(texts)) == len(texts)
    if question.kind == "one":
        assert len(right) == 1
    if question.kind == "several":
        assert 2 <= len(right) < len(question.options)
    assert not any("all of the above" in text.lower() or "none of the above" in text.lower() for text in texts)


@pytest.mark.parametrize(("name", "question"), ALL, ids=IDS)
def test_the_right_answer_is_right_and_every_other_is_wrong(name, question):
    if question.kind == "number":
        assert question.grade(str(question.answer)).right
        assert not question.grade(str(question.answer + 3 * question.tolerance + 1)).right
        for mistake in question.mistakes:
            verdict = question.grade(str(mistake.value))
            assert not verdict.right and verdict.remarks[0][1] == mistake.because
        return
    right = {position for position, option in enumerate(question.options) if option.right}
    assert question.grade(right).right
    for position, option in enumerate(question.options):
        verdict = question.grade([position])
        assert verdict.right == ({position} == right)
        assert verdict.remarks[0] == (option.text, option.because)


def test_the_right_option_stands_at_every_position_about_equally_often():
    places = Counter(
        question.shuffled(name).index(next(i for i, option in enumerate(question.options) if option.right))
        for name, question in SINGLE
    )
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) <= 0.4 * len(SINGLE) and min(places.values()) >= 0.12 * len(SINGLE)


def test_the_right_option_is_neither_usually_the_longest_nor_the_shortest():
    def rank(question):
        lengths = sorted(len(option.text) for option in question.options)
        return lengths.index(len(next(option.text for option in question.options if option.right)))

    ranks = Counter(rank(question) for _, question in SINGLE)
    assert ranks[3] <= 0.35 * len(SINGLE) and ranks[0] <= 0.4 * len(SINGLE)


def test_the_order_shown_is_always_the_same():
    question = load("03").questions[0]
    assert question.shuffled("03") == question.shuffled("03")
    assert sorted(question.shuffled("03")) == list(range(len(question.options)))
    assert any(one.shuffled(name) != sorted(one.shuffled(name)) for name, one in SINGLE)


@pytest.mark.parametrize(
    ("typed", "value"),
    [("3.5", 3.5), (" 3,5 ", 3.5), ("11,181,642", 11_181_642), ("1,500", 1500), ("0,925", 0.925), ("−0.5", -0.5),
     ("1.5×", 1.5), ("1.5 x", 1.5), ("95 %", 95), ("700 GB", 700), ("5 FLOP/byte", 5), ("1e3", 1000), (".5", 0.5)],
)  # fmt: skip
def test_numbers_are_read_as_people_type_them(typed, value):
    assert read_number(typed) == value


@pytest.mark.parametrize("typed", ["", "a lot", "3 to 4", "nan", "inf", "1.2.3", "x" * 500])
def test_what_is_no_number_is_refused_in_one_short_line(typed):
    with pytest.raises(ValueError, match="type one number") as caught:
        read_number(typed)
    assert len(str(caught.value)) < 120


def test_a_partly_right_choice_says_how_many_are_missing():
    question = next(one for one in load("03").questions if one.kind == "several")
    right = [position for position, option in enumerate(question.options) if option.right]
    verdict = question.grade(right[:1])
    assert not verdict.right and verdict.remarks[-1][1] == "So far so good, but 1 more of the options is right."


def test_an_empty_choice_and_an_unknown_position_are_refused():
    question = load("03").questions[0]
    with pytest.raises(ValueError, match="choose an option"):
        question.grade([])
    with pytest.raises(ValueError, match="position must be one of"):
        question.grade([9])


def test_an_unknown_quiz_is_refused_with_the_names_that_exist():
    with pytest.raises(ValueError, match=r"'03'.*got '44'"):
        quiz("44")
