from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from course_lib.learning import progress, questions
from course_lib.learning.answer import Answer
from course_lib.learning.expect import CheckFailed, NotAttempted, expect, expect_equal, expect_raises, expect_unchanged
from course_lib.learning.questions import Question, check, find, in_lesson, probe, question

HINTS = ("look", "look closer", "nearly there")


def check_double(answer):
    for value in (1.0, 2.0):
        expect_equal(
            "the result", answer(torch.full((2,), value), 2), torch.full((2,), 2 * value), hint="twice, not more"
        )


def line_of(error, name, function) -> str:
    with pytest.raises(error) as caught:
        check(name, function)
    (line,) = caught.value._render_traceback_()
    assert "\n" not in line and line == str(caught.value)
    return line


def test_a_right_answer_shows_its_points_and_is_recorded(declare):
    name = declare(check_double)
    passed = check(name, lambda value, factor: value * factor)
    assert repr(passed) == "99.1 A trial: right, 4 of 4 points"
    assert "4 of 4 points" in passed._repr_html_() and "var(--jp-ui-font-color1" in passed._repr_html_()
    assert progress.read()["questions"]["99.1"] == {"points": 4, "out_of": 4, "tries": 1}


def test_a_wrong_answer_raises_one_line_with_the_learners_own_names(declare):
    name = declare(check_double)
    line = line_of(CheckFailed, name, lambda value, factor: value * factor + 1)
    assert line == (
        "99.1 not yet: the result at index [0]: expected 2.0, got 3.0 (2 of 2 entries differ), "
        "for value = float32 tensor [1.0, 1.0], factor = 2. Twice, not more"
    )
    assert progress.read()["questions"]["99.1"] == {"points": 0, "out_of": 4, "tries": 1}


def test_points_once_earned_are_kept_after_a_wrong_try(declare):
    name = declare(check_double)
    check(name, lambda value, factor: value * factor)
    line_of(CheckFailed, name, lambda value, factor: value)
    assert progress.read()["questions"]["99.1"] == {"points": 4, "out_of": 4, "tries": 2}


def test_the_stub_is_not_attempted_and_no_try(declare):
    def stub(value, factor):
        raise NotImplementedError()

    def calls_a_stub(value, factor):
        return stub(value, factor)

    name = declare(check_double)
    for function in (stub, calls_a_stub):
        assert line_of(NotAttempted, name, function).startswith("99.1 not attempted yet")
    assert progress.read()["questions"] == {}


def test_an_operation_that_a_library_lacks_is_an_error_and_not_a_stub(declare):
    def lacking(value, factor):
        return torch.ones(1, device="meta").item() or value

    name = declare(check_double)
    try:
        lacking(None, None)
    except NotImplementedError:
        assert "your function raised NotImplementedError" in line_of(CheckFailed, name, lacking)
    except RuntimeError:
        assert "your function raised RuntimeError" in line_of(CheckFailed, name, lacking)


def test_an_exception_is_named_with_the_input_and_the_learners_line(declare):
    lines = ["def broken(value, factor):", "    return helper(value)", "", "def helper(x):", "", "    return x[7]"]
    space = {}
    exec(compile("\n".join(lines), "cell", "exec"), space)
    line = line_of(CheckFailed, declare(check_double), space["broken"])
    assert "your function raised IndexError" in line and "(line 6)" in line and "value = float32 tensor" in line


def test_the_line_is_the_learners_also_when_a_library_raises(declare):
    def deep(value, factor):
        return json.loads("{")

    line = line_of(CheckFailed, declare(check_double), deep)
    assert "JSONDecodeError" in line and '`return json.loads("{")`' in line


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (torch.ones(2), "the answer should be a function, got float32 tensor [1.0, 1.0]"),
        (None, "the answer should be a function, got None"),
        (lambda value: value, "your function takes (value), but it is called with 2 arguments"),
        (lambda: 1, "your function takes (nothing), but it is called with 2 arguments"),
        (lambda value, factor: None, "expected a tensor of shape (2,), got None"),
        (lambda value, factor: sys.exit(), "your function raised SystemExit"),
        (lambda value, factor: (lambda f: f(f))(lambda f: f(f)), "your function raised RecursionError"),
    ],
)
def test_unusual_answers_get_a_friendly_line(declare, answer, said):
    assert said in line_of(CheckFailed, declare(check_double), answer)


def test_an_exception_whose_message_cannot_be_printed_is_still_reported(declare):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no")

    def raises(value, factor):
        raise Mute

    assert "Mute: (its message cannot be printed)" in line_of(CheckFailed, declare(check_double), raises)


def test_a_result_that_the_check_cannot_use_is_the_answers_fault(declare):
    def check_dtype(answer):
        expect(answer(1).dtype == torch.bool, "should be boolean")

    line = line_of(CheckFailed, declare(check_dtype), lambda value: None)
    assert "your function returned None, which is not what it should return, for value = 1" in line
    assert "return statement" in line


def test_a_broken_check_is_not_blamed_on_the_learner(declare):
    def broken(answer):
        raise ZeroDivisionError("a bug of the check")

    with pytest.raises(ZeroDivisionError):
        check(declare(broken), lambda: 1)


def test_results_reach_the_check_as_exact_types(declare):
    class YesInt(int):
        __hash__ = int.__hash__

        def __eq__(self, other):
            return True

    def check_three(answer):
        expect(answer() == 3, "it should be three")

    assert "it should be three" in line_of(CheckFailed, declare(check_three), lambda: YesInt(4))


def test_the_check_keeps_its_inputs_whatever_the_answer_does_to_them(declare):
    def check_kept(answer):
        weight, layer, names = torch.ones(3), torch.nn.Linear(2, 2), {"a": [1]}
        before = layer.weight.detach().clone()
        answer(weight, layer, names)
        assert weight.sum() == 3 and torch.equal(layer.weight, before) and names == {"a": [1]}
        Answer(destroy).in_place(weight, layer, names)
        assert weight.sum() == 0

    def destroy(weight, layer, names):
        weight.zero_()
        torch.nn.init.zeros_(layer.weight)
        names["a"].append(2)

    check(declare(check_kept), destroy)


def test_expect_raises_and_expect_unchanged_work_on_the_wrapped_answer(declare):
    def check_both(answer):
        expect_unchanged(answer, torch.ones(2))
        expect_raises(ValueError, answer, torch.ones(0))

    def right(weight):
        if not weight.numel():
            raise ValueError("weight must not be empty")
        return weight * 2

    def changes(weight):
        return weight.mul_(2)

    name = declare(check_both)
    check(name, right)
    assert "changed its input `weight`" in line_of(CheckFailed, name, changes)
    line = line_of(CheckFailed, name, lambda weight: weight * 2)
    assert "expected a ValueError, but it returned float32 tensor of shape (0,), for weight = float32 tensor" in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "3.1"}, "must look like '03.1'"),
        ({"points": 0}, "points of question 99.1 must be greater than 0"),
        ({"minutes": -1}, "minutes of question 99.1"),
        ({"difficulty": 6}, "must be 1 to 5, got 6"),
        ({"hints": ("one", "two")}, "needs exactly 3 hints, got 2"),
        ({"hints": ("one", "two", " ")}, "needs exactly 3 hints"),
        ({"title": " "}, "title of question 99.1 must not be empty"),
    ],
)
def test_a_question_with_a_bad_field_is_refused(change, said):
    fields = {"id": "99.1", "title": "t", "points": 1, "minutes": 1, "difficulty": 1, "hints": HINTS, "check": print}
    with pytest.raises(ValueError, match=said):
        Question(**(fields | change))


def test_an_id_is_declared_once_but_a_module_may_be_reloaded(declare):
    name = declare(check_double)
    declare(check_double)
    with pytest.raises(ValueError, match="declared twice"):
        question(name, points=1, minutes=1, difficulty=1, title="t", hints=HINTS)(print)

    def first(answer, generator):
        return answer(1)

    def second(answer, generator):
        return answer(2)

    assert find(name).probe is None
    probe(name)(first)
    assert find(name).probe is first
    with pytest.raises(ValueError, match=r"probe of 99\.1 is declared twice"):
        probe(name)(second)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("98.1", "lesson '98' has no exercise; there are exercises for 01"),
        ("01.99", r"no question '01\.99'; lesson 01 has 01\.1, 01\.2"),
        ("banana", "must look like '03.1'"),
        (3.1, "must look like '03.1'"),
        ("../x.1", "must look like '03.1'"),
    ],
)
def test_an_unknown_question_is_refused_with_the_ones_that_exist(name, said):
    with pytest.raises(ValueError, match=said):
        find(name)


def test_shipped_questions_are_found_in_order():
    ids = [one.id for one in in_lesson("01")]
    assert ids == sorted(ids) and len(ids) >= 4 and find(ids[0]).lesson == "01"


def test_importing_the_room_loads_no_torch_and_no_widgets():
    code = "import sys, course_lib.learning; print([m for m in ('torch', 'ipywidgets', 'IPython') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_ipython_shows_the_line_and_nothing_else(declare, capsys):
    from IPython.testing.globalipapp import start_ipython

    shell = start_ipython()
    name = declare(check_double)
    shell.push({"check": check, "name": name})
    result = shell.run_cell("def triple(value, factor):\n    return value * 3\ncheck(name, triple)")
    assert isinstance(result.error_in_exec, CheckFailed)
    shown = capsys.readouterr().out.strip().splitlines()
    assert len(shown) == 1 and shown[0].startswith("99.1 not yet: the result at index [0]: expected 2.0, got 3.0")


def test_in_a_kernel_a_failure_gets_a_coloured_edge_and_is_raised_all_the_same(declare, monkeypatch):
    import IPython

    class Shell:
        kernel = None

    shown = []
    monkeypatch.setattr(IPython, "get_ipython", Shell)
    monkeypatch.setattr("IPython.display.display", lambda *objects: shown.extend(one.data for one in objects))
    name = declare(check_double)
    line_of(CheckFailed, name, lambda value, factor: value)
    line_of(NotAttempted, name, _stub)
    check(name, lambda value, factor: value * factor)
    assert ["course-edge-threshold" in shown[0], "course-edge-baseline" in shown[1], len(shown)] == [True, True, 2]


def _stub(value, factor):
    raise NotImplementedError()


def test_fields_that_are_not_given_come_from_the_file_of_the_lesson(monkeypatch, tmp_path):
    (tmp_path / "lesson_99").mkdir()
    hints = "hints: [one, two, three]"
    text = f'"99.7":\n  title: From the file\n  points: 4\n  minutes: 5\n  difficulty: 2\n  {hints}\n'
    (tmp_path / "lesson_99" / "questions.yaml").write_text(text)
    monkeypatch.setattr(questions, "FOLDER", tmp_path)
    questions.described.cache_clear()
    question("99.7", points=1)(print)
    questions.described.cache_clear()
    found = find("99.7")
    assert (found.title, found.points, found.minutes, found.hints) == ("From the file", 1, 5, ("one", "two", "three"))


def test_every_question_has_its_fields_in_the_file_of_its_lesson():
    for lesson in questions.lessons_with_exercises():
        found = {entry.id: entry.title for entry in questions.in_lesson(lesson)}
        assert found == {id: fields["title"] for id, fields in questions.described(lesson).items()}
    assert questions.described("98") == {}
