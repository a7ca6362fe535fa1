"""Every printed example of every statement is among the inputs of its check, and the solution gives what is printed."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from course_lib.grading import building, cells
from course_lib.learning import questions
from course_lib.learning.difference import difference
from course_lib.learning.exercises.lesson_06 import questions as exercise_06
from course_lib.learning.exercises.lesson_09 import questions as exercise_09
from course_lib.learning.values import clone, plain
from tests.exercises.printed_examples import PRINTED
from tests.exercises.test_checks import LESSONS, TRIED, answer, graded_source

T = torch.tensor
ABOUT = (2e-3, 2e-3)
ONE = torch.ones(1)


@dataclass(frozen=True)
class Example:
    """A call that a statement prints: arguments and result, or what is true of them; ``refused`` for a ValueError."""

    arguments: tuple[Any, ...] | Callable[..., bool]
    result: Any = None
    holds: Callable[[Any], bool] = lambda result: True
    refused: bool = False


def of(*arguments: Any, gives: Any = None, **more: Any) -> Example:
    return Example(arguments, gives, **more)


def where(condition: Callable[..., bool], gives: Any = None, **more: Any) -> Example:
    return Example(condition, gives, **more)


def first_and_last_of_three(layer: dict[str, Tensor], heads: int, keep: list[int]) -> bool:
    return heads == 3 and keep == [0, 2] and layer["query.weight"].shape[0] == 6


EXAMPLES: dict[str, list[Example]] = {
    "01.1": [of([(3,), (2, 2)], "int4", gives=4)],
    "01.2": [of(16, 16, 128, 4, gives=("bitmask", 544))],
    "01.4": [of(2, 128, 4, 64, 16, 4, gives=4.3125)],
    "01.5": [of(1e9, 16, 1, 20, 100, gives=(0.1, "memory"))],
    "01.6": [where(lambda weight, budget, *more: budget == 90.0, holds=lambda plan: plan != (0.0, 4))],
    "02.1": [of(3, 64, (7, 7), 1, False, gives=9408)],
    "02.2": [of(3, 8, (3, 3), (1, 1), (1, 1), 1, (8, 8), 1, gives=13824)],
    "02.3": [of(1000, 4000, 1000, 1, 100.0, 20.0, gives=(0.4, 8.0, "memory"))],
    "02.4": [where(lambda runners, runs, warmup, clock: (list(runners), runs, warmup) == (["a", "b"], 3, 1),
                   holds=lambda result: not difference(result["a"], (3.0, 3.9), (1e-6, 1e-6)))],
    "02.5": [of([6.0, 3.0, 1.0], 0, 3.0, gives=(1.667, 2.5))],
    "02.6": [where(lambda layers, budget: budget == 10.5 and [one["latency_ms"] for one in layers] == [2, 4, 8],
                   gives=["large"])],
    "03.1": [of(T([[1.0, -2.0], [-1.0, 3.0]]), 0.25, gives=T([[False, True], [True, True]]))],
    "03.2": [of({"a": T([1.0, 5.0]), "b": T([2.0, 3.0])}, 0.5, gives={"a": T([False, True]), "b": T([False, True])}),
             of({"a": T([1.0, 5.0]), "b": T([2.0, 3.0])}, 0.25, gives={"a": T([False, True]), "b": T([True, True])})],
    "03.3": [of(5, 10, 0.0, 0.8, gives=0.7)],
    "03.4": [where(lambda weight: weight.shape == (16,) and int((weight == 0).sum()) == 12,
                   gives={"dense": 64, "bitmask": 18, "break_even": 1})],
    "04.1": [of(T([[3.0, 4.0], [0.0, 5.0], [6.0, 8.0]]), T([[1.0, 2.0, 0.0]]), gives=T([0.875, 1.375, 0.75]))],
    "04.2": [where(lambda scores, ratio, multiple: (len(scores), ratio, multiple) == (12, 0.5, 4),
                   holds=lambda kept: len(kept) == 8)],
    "04.3": [where(lambda state, stem, inner: (stem, inner) == ([0, 2], [1]),
                   holds=lambda one: [*one["conv2.weight"].shape, *one["fc.weight"].shape] == [1, 2, 3, 3, 5, 8])],
    "04.4": [where(first_and_last_of_three,
                   holds=lambda small: small["query.weight"].shape[0] == small["output.weight"].shape[1] == 4)],
    "04.5": [of(T([[1.0, -4.0, 2.0, 3.0, 0.0, 0.0, 0.0, 5.0]]), gives=T([[0, 1, 0, 1, 1, 0, 0, 1]]).bool())],
    "05.1": [of(T([7.0, -3.5, 1.2]), 4, gives=(T([7, -4, 1]).int(), 1.0))],
    "05.2": [of(-1.0, 3.0, 8, gives=(0.01569, 64)), of(2.0, 3.0, 8, gives=(3 / 255, 0))],
    "05.3": [of(T([[7.0, 1.0, 0.7, 0.1]]), 4, 2, gives=(T([[7, 1, 7, 1]]).int(), T([[1.0, 0.1]])))],
    "05.4": [of(T([0.0, 0.2, 1.0]), T([0.0, 2.0]), 1, gives=(T([0, 0, 0]), T([0.4, 2.0])))],
    "06.1": [of(T([[2.0]]), None, 3 * ONE, ONE, 4 * ONE, 0.99 * ONE, 0.01, gives=(T([[6.0]]), T([-11.0])))],
    "06.2": [of(T([[5]]).byte(), 2, T([[4]]).char(), T([1]).int(), 2**30, 31, 100, gives=T([[107]]).byte())],
    "06.4": [of(T([0.0, 1, 2, 3, 30]), 2, [3.0, 30.0], gives=30.0)],
    "07.1": [of(T([-5.0, 0.2, 0.9]), 0.5, -2, 1, gives=T([-1.0, 0.0, 0.5]))],
    "07.2": [of(T([0.3, 4.0]), 1, -2, 1, T([1.0, 2.0]), gives=T(1.202))],
    "08.1": [of(T([[0.8, 1.0]]), T([[2.0, 1.0], [0.0, 1.0]]), 0, ONE, 0 * ONE, 2, gives=T([[1.0, 1.1]]))],
    "08.2": [of(T([[2.0, 0.0], [0.0, 1.0]]), 0.0, gives=T([[0.5, 0.0], [0.0, 1.0]])),
             of(T([[2.0, 2.0], [0.0, 0.0]]), 0.0, refused=True)],
    "08.4": [of((2, 8), 4, 4, False, gives={"codes": 8, "scales": 8, "zero_points": 2, "bits_per_weight": 9.0})],
    "08.5": [of(T([[1.0]]), T([[100.0], [-3.0]]), ONE, ONE, 0.5, gives=(T([[10.0]]), T([0.1]), T([0.1])))],
    "09.1": [of(T([[2.0, 0.0]]), 2, gives=T([[0.731, 0.269]]))],
    "09.2": [of(T([[0.0, 0.0]]), T([[2.0, 0.0]]), T([0]), 0.5, 2.0, gives=T(0.568))],
    "09.3": [of(T([[1.0, 0.0]]), T([[3.0, 0.0]]), gives=T([[-0.5, 0.5]]))],
    "10.1": [of(3, 6, gives=(1, 3, 5))],
    "10.2": [where(lambda state, chosen: tuple(chosen) == (1, 3, 5),
                   holds=lambda kept: {name.split(".")[3] for name in kept if "encoder" in name} == {"0", "1", "2"}),
             where(lambda state, chosen: max(chosen) > 9)],
    "10.3": [where(lambda *given: given[4:] == (2.0, (5.0, 2.0, 1.0)) and given[3].tolist() == [[1, 0]],
                   gives=T(4.605))],
    "10.4": [of(T([[[[1.0, 0.0], [0.0, 1.0]]]]), T([[[[0.8, 0.2], [0.4, 0.6]]]]), T([[1, 1]]), gives=T(0.1)),
             of(T([[[[1.0, 0.0], [0.0, 1.0]]]]), T([[[[0.8, 0.2], [0.4, 0.6]]]]), T([[1, 0]]), gives=T(0.04))],
    "10.5": [where(lambda teacher, students, inputs, *more: (len(students), len(inputs)) == (3, 12),
                   holds=lambda result: len(result[1]) == 3),
             where(lambda *given: given[-1] == 1.0), where(lambda *given: given[-1] == 0.0)],
    "11.1": [of(4, 4, gives=1)],
    "11.2": [where(lambda layer, rank: (layer.in_features, layer.out_features, rank) == (8, 6, 2),
                   holds=lambda pair: [tuple(one.weight.shape) for one in pair] == [(2, 8), (6, 2)])],
    "11.3": [of(torch.diag(T([4.0, 2.0, 1.0])), 0.9, gives=2)],
    "11.4": [of(64, 64, 3, 16, 16, 14, 14, 1, gives={"shapes": [(16, 64, 1, 1), (16, 16, 3, 3), (64, 16, 1, 1)],
                                                     "parameters": 4352, "macs": 852992})],
    "11.5": [where(lambda weight, inputs, rank: rank == min(weight.shape))],
    "11.6": [of(T([[1.0, 0.0]]), T([[1.0, 1.0]]), T([[2.0]]), 0.5, gives=T([[2.0, 1.0]]))],
    "12.1": [of(T([0.0, 1.0, 2.0, 10.0]), T([0.0, 5.0, 10.0]), gives=(T([0, 0, 0, 2]), T([1.0, 0.0, 10.0])))],
    "12.2": [of([2, 3, 0, 1, 3], gives={3: "0", 0: "10", 1: "110", 4: "111"}), of([1, 1, 2], refused=True)],
    "12.3": [of([2, 1, 1], gives=(1.5, 1.5)), of([8, 1, 1], gives=(0.922, 1.2))],
    "12.4": [of([0, 2, 1], [2, 1, 1], gives="01110")],
    "12.5": [of(T([0.9, 2.2, -1.4]), 1.0, 0.1, T([9.0, 4, 1, 4, 9]), gives=T([1, 2, -1])),
             of(T([0.9, 2.2, -1.4]), 1.0, 0.5, T([9.0, 4, 1, 4, 9]), gives=T([0, 1, -1]))],
    "12.6": [of([5, 2, 1], [1, 2, 2], 4, gives={"fixed": 14, "huffman": 16})],
    "13.1": [of([1, 3], [10, 40], 100, 20, 1.5, 1.25, 1.1,
                gives={"phi": 2, "layers": [3, 7], "channels": [16, 64], "resolution": 121})],
    "13.2": [where(lambda first, bias, second, keep: keep == 3 and first.abs().flatten().tolist() == [2, 6, 2, 3],
                   holds=lambda result: result[1].tolist() == [1, 3, 0])],
    "13.3": [where(lambda batches: [one.flatten().tolist() for one in batches] == [[1, 3], [8]],
                   gives=(T([4.0]), T([8.667])))],
    "13.4": [of([((0,), 0.9, 7), ((1,), 0.6, 5), ((2,), 0.7, 3), ((3,), 0.8, 6)], 5, 3, gives=[(2,), (1,), (3,)]),
             of([((0,), 0.9, 7), ((1,), 0.6, 5), ((2,), 0.7, 3), ((3,), 0.8, 6)], 5, 4,
                gives=[(2,), (1,), (3,), (0,)])],
    "13.5": [of([0.90, 0.92, 0.92, 0.91, 0.90], [1, 3, 2, 2, 1], gives=[0, 2, 4])],
    "13.6": [of({(16, 16, 7, 1): 1.0, (16, 32, 7, 2): 2.0, (32, 32, 4, 1): 3.0}, [16, 32], [1, 2], 7, 0.5, 0.25,
                gives=3.25)],
}  # fmt: skip
OF_CLASSES = {"06.3", "09.4"}
"""Examples of classes, which have tests of their own below."""


@functools.cache
def paragraphs() -> dict[str, list[str]]:
    """Question → the paragraphs of its statement that begin with ``Example``."""
    found: dict[str, list[str]] = {}
    for lesson in LESSONS:
        (path,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
        question = ""
        for cell in cells.read(path).cells:
            for block in re.split(r"\n\s*\n", cell.source) if cell.cell_type == "markdown" else ():
                if title := re.search(r"^## (\d\d\.\d)", block, re.MULTILINE):
                    question = title[1]
                if block.lstrip().startswith("Example"):
                    found.setdefault(question, []).append(" ".join(block.split()))
    return found


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", "memory")


def test_the_list_of_examples_is_complete():
    assert paragraphs() == {question: [text] for question, text in PRINTED.items()}
    assert set(PRINTED) == set(EXAMPLES) | OF_CLASSES


@functools.cache
def calls(question: str) -> list[tuple[tuple[Any, ...], Any]]:
    """Arguments and result of every call that the check makes; the result is the error if it raises."""
    right, seen = answer(question, graded_source(question, solved=True)), []

    @functools.wraps(right)
    def recorded(*arguments: Any) -> Any:
        before = tuple(clone(value) for value in arguments)
        try:
            result = right(*arguments)
        except ValueError as error:
            seen.append((before, error))
            raise
        seen.append((before, clone(plain(result))))
        return result

    questions.check(question, recorded)
    return seen


@pytest.mark.parametrize("question", EXAMPLES)
def test_the_check_tries_every_printed_example_and_gets_what_is_printed(question):
    assert question in TRIED
    for example in EXAMPLES[question]:
        results = [result for arguments, result in calls(question) if _is(example, arguments)]
        assert results
        for result in results[:1]:
            assert isinstance(result, ValueError) == example.refused
            assert example.holds(result)
            if example.result is not None:
                found = plain(result.detach() if isinstance(result, Tensor) else result)
                assert difference(found, example.result, ABOUT) is None


def _is(example: Example, arguments: tuple[Any, ...]) -> bool:
    if callable(example.arguments):
        return bool(example.arguments(*arguments))
    expected = plain(example.arguments)
    given = tuple(plain(one.detach() if isinstance(one, Tensor) else one) for one in arguments)
    return difference(given, expected, (1e-6, 1e-6)) is None


def test_the_example_of_the_observer_is_tried(monkeypatch):
    seen = []

    def observed(given, momentum, batches):
        seen.append((momentum, [(batch.min().item(), batch.max().item()) for batch in batches]))
        return original(given, momentum, batches)

    original = exercise_06.observed
    monkeypatch.setattr(exercise_06, "observed", observed)
    questions.check("06.3", answer("06.3", graded_source("06.3", solved=True)))
    assert (0.1, [(0.0, 1.0), (0.0, 2.0)]) in seen


def test_the_example_of_the_feature_loss_is_tried(monkeypatch):
    tried = []
    original = exercise_09.expect_example
    monkeypatch.setattr(exercise_09, "expect_example", lambda given: tried.append(original(given)))
    questions.check("09.4", answer("09.4", graded_source("09.4", solved=True)))
    assert len(tried) == 1
