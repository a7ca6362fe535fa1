from __future__ import annotations

import numpy
import pytest
import torch

from course_lib.learning.expect import (
    CheckFailed,
    NotAttempted,
    cases,
    draw,
    expect,
    expect_close,
    expect_equal,
    expect_parts,
    expect_raises,
    expect_tensor,
    expect_unchanged,
    expect_whole,
    likely_mistake,
)


class AlwaysEqual:
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __bool__(self):
        return True

    def __repr__(self):
        raise RuntimeError("no description")


class YesInt(int):
    __hash__ = int.__hash__

    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0


def failure(call, *args, **kwargs) -> str:
    with pytest.raises(CheckFailed) as caught:
        call(*args, **kwargs)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 421
    assert caught.value._render_traceback_() == [line]
    return line


@pytest.mark.parametrize("condition", [False, 0, 1, None, AlwaysEqual(), "yes", torch.tensor([True, True])])
def test_expect_takes_nothing_but_a_true_boolean(condition):
    assert failure(expect, condition, "it should hold") == "it should hold"


@pytest.mark.parametrize("condition", [True, numpy.bool_(True), torch.tensor(True), torch.tensor([True])])
def test_expect_passes_a_true_boolean_of_any_library(condition):
    expect(condition, "it should hold")


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (3, 3), (3, 3.0), (torch.tensor(3), 3), (3, torch.tensor(3)), (numpy.int64(3), 3),
        (torch.ones(2).double(), torch.ones(2)), (True, True), ("a", "a"), (None, None),
        ([1, 2], (1, 2)), (torch.Size([2]), [2]), ({"a": [1]}, {"a": (1,)}), (float("nan"), float("nan")),
        (torch.tensor([1, 2]), torch.tensor([1, 2])), (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        (torch.zeros(0, 3), torch.zeros(0, 3)), (torch.bool, torch.bool), (numpy.ones(2), numpy.ones(2)),
        (torch.nn.Parameter(torch.ones(2)), torch.ones(2)),
        (torch.arange(4).reshape(2, 2).T, torch.tensor([[0, 2], [1, 3]])),
        ({1, 2}, {2, 1}),
    ],
)  # fmt: skip
def test_equal_values_pass(got, wanted):
    expect_equal("the value", got, wanted)


@pytest.mark.parametrize(
    ("got", "wanted", "said"),
    [
        (4, 3, "the value: expected 3, got 4"),
        (True, 1, "the value: expected the number 1, got True"),
        (1, True, "the value: expected True, got 1"),
        ("3", 3, "the value: expected the number 3, got '3'"),
        (None, 3, "the value: expected the number 3, got None"),
        (YesInt(4), 3, "the value: expected 3, got 4"),
        (AlwaysEqual(), 3, "the value: expected the number 3, got an object of type AlwaysEqual"),
        (AlwaysEqual(), "a", "the value: expected 'a', got an object of type AlwaysEqual"),
        (0.30000000000000004, 0.3, "the value: expected 0.3, got 0.30000000000000004"),
        ([1, 2], [1, 2, 3], "the value: expected 3 entries, got 2"),
        ([1, 5], [1, 2], "the value at entry 1: expected 2, got 5"),
        (7, [7], "the value: expected a list, got 7"),
        ({"b": 1}, {"a": 1}, "the value: the key 'a' is missing"),
        ({"a": 1, "b": 1}, {"a": 1}, "the value: the key 'b' should not be there"),
        ({"a": [1]}, {"a": [2]}, "the value under the key 'a': at entry 0: expected 2, got 1"),
        ([1], {"a": 1}, "the value: expected a dictionary, got [1]"),
        ([1, 0], torch.tensor([1, 0]), "the value: expected a tensor of shape (2,), got [1, 0]"),
        (torch.ones(2, 3), torch.ones(3, 2), "the value: expected shape (3, 2), got (2, 3)"),
        (torch.ones(2), torch.ones(2).bool(), "the value: expected dtype torch.bool, got torch.float32"),
        (torch.ones(2), torch.tensor([1, 1]), "the value: expected dtype torch.int64, got torch.float32"),
        (numpy.float64(2), torch.tensor(1), "the value: expected the whole number 1, an int, got 2.0"),
        (3.0, 3, "the value: expected the whole number 3, an int, got 3.0"),
        (numpy.ones(2), torch.ones(2), "the value: expected a tensor of shape (2,), got float64 array of shape (2,)"),
        (
            torch.eye(2).to_sparse(),
            torch.eye(2),
            "the value: expected a dense tensor, got float32 tensor of shape (2, 2) that is not dense",
        ),
        (torch.tensor(1.0), torch.tensor(0.5), "the value: expected 0.5, got 1.0"),
        (numpy.ones(2), numpy.zeros(2), "the value at index [0]: expected 0.0, got 1.0 (2 of 2 entries differ)"),
        ([1.0], numpy.zeros(1), "the value: expected a NumPy array, got [1.0]"),
        (numpy.array([None]), numpy.zeros(1), "the value: expected numbers of dtype float64, got dtype object"),
    ],
)  # fmt: skip
def test_unequal_values_fail_with_expected_and_got(got, wanted, said):
    assert failure(expect_equal, "the value", got, wanted) == said


def test_a_large_tensor_is_reported_by_its_first_difference():
    wanted = torch.zeros(1000, 1000, dtype=torch.bool)
    got = wanted.clone()
    got[3, 500:502] = True
    line = failure(expect_equal, "the mask", got, wanted)
    assert line == "the mask at index [3, 500]: expected False, got True (2 of 1,000,000 entries differ)"


def test_a_tensor_subclass_that_calls_itself_equal_does_not_pass():
    class YesTensor(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return torch.tensor(True)

    got = torch.zeros(2).as_subclass(YesTensor)
    assert "plain torch.Tensor" in failure(expect_equal, "the value", got, torch.ones(2))
    assert "plain torch.Tensor" in failure(expect_close, "the value", got, torch.ones(2))
    failure(expect, got, "should be true")


def test_close_uses_both_tolerances_and_counts_must_be_exact():
    expect_close("the value", 1.00005, 1.0)
    expect_close("the value", torch.ones(3).double() + 1e-9, torch.ones(3))
    expect_close("the value", 101, 100, atol=1)
    expect_close("the value", 101, 100, rtol=0.01)
    expect_close("the value", [0.5, float("inf")], [0.5, float("inf")])
    assert failure(expect_close, "the count", 1_000_001, 1_000_000) == "the count: expected 1,000,000, got 1,000,001"
    assert failure(expect_close, "the value", 1.01, 1.0) == "the value: expected 1.0, got 1.01"
    assert "expected inf" in failure(expect_close, "the value", 1e300, float("inf"))
    assert "got nan" in failure(expect_close, "the value", float("nan"), 1.0)
    assert "[1]: expected 2.0, got 3.0" in failure(
        expect_close, "the value", torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0])
    )
    assert "expected dtype" in failure(expect_close, "the value", torch.ones(2), torch.ones(2, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_too_few_digits_to_be_compared(dtype):
    ones = torch.ones(2, dtype=dtype)
    for got, expected in ((ones, torch.ones(2)), (ones.double().to(dtype), torch.ones(2, dtype=torch.float64))):
        for compare in (expect_close, expect_equal):
            assert f"got {dtype}, which has too few digits" in failure(compare, "the value", got, expected)
    assert str(dtype).removeprefix("torch.") in failure(expect_close, "the value", ones[0], 1.0)
    assert "should be in float32" in failure(expect_tensor, "the value", ones)
    expect_tensor("the value", ones, dtype=dtype)
    expect_close("the value", ones, ones.clone())
    expect_close("the value", torch.ones(2), ones)
    assert "expected dtype torch.int64" in failure(expect_close, "the value", ones, torch.ones(2, dtype=torch.int64))


def test_the_line_names_the_input_and_what_it_usually_means():
    line = failure(
        expect_equal, "the count", 2, 3, given={"weight": torch.ones(2, 2), "sparsity": 0.5}, hint="rounded down?"
    )
    assert line == (
        "the count: expected 3, got 2, for weight = float32 tensor of shape (2, 2), sparsity = 0.5. Rounded down?"
    )
    assert failure(expect, False, "no", given="an empty tensor") == "no, for an empty tensor"


def test_expect_raises_wants_this_error():
    def strict(value):
        if value > 1:
            raise ValueError("value must lie in [0, 1]")
        return value

    expect_raises(ValueError, strict, 2)
    assert (
        failure(expect_raises, ValueError, strict, 1) == "expected a ValueError, but it returned 1, for argument 1 = 1"
    )
    assert "expected a TypeError, got a ValueError: value must" in failure(expect_raises, TypeError, strict, 2)
    with pytest.raises(NotAttempted):
        expect_raises(ValueError, _raise_not_attempted)


def _raise_not_attempted():
    raise NotAttempted("99.1")


def test_expect_unchanged_finds_a_change_in_place_and_returns_the_result():
    weight = torch.arange(4.0)
    assert torch.equal(expect_unchanged(lambda w: w * 2, weight), weight * 2)
    assert "changed its input `argument 1`" in failure(expect_unchanged, lambda w: w.zero_(), weight)
    assert weight.sum() == 6
    layer = torch.nn.Linear(2, 2)
    assert "changed its input" in failure(expect_unchanged, lambda m: torch.nn.init.zeros_(m.weight), layer)
    numbers = [3, 1, 2]
    assert "changed its input" in failure(expect_unchanged, lambda n: n.sort(), numbers)


def test_cases_are_the_product_in_order_and_always_the_same():
    first = [(w, s) for w, s in cases(shapes=[(2, 3), (0,)], sparsities=[0, 0.5])]
    again = [(w, s) for w, s in cases(shapes=[(2, 3), (0,)], sparsities=[0, 0.5])]
    assert [(tuple(w.shape), s) for w, s in first] == [((2, 3), 0), ((2, 3), 0.5), ((0,), 0), ((0,), 0.5)]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert first[0][0] is not first[1][0]
    assert list(cases(bits=[2, 4])) == [(2,), (4,)]


@pytest.mark.parametrize("result", [(1, 2), [1, 2]])
def test_a_pair_is_a_list_or_tuple_of_two(result):
    assert expect_parts(result, 2, "scale and zero-point") == (1, 2)


@pytest.mark.parametrize("result", [None, 3, (1,), (1, 2, 3), {1, 2}, "ab", torch.zeros(2)])
def test_anything_else_is_no_pair(result):
    with pytest.raises(CheckFailed, match="return two values, scale and zero-point; you returned"):
        expect_parts(result, 2, "scale and zero-point")


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ([1.0], "the mask should be a tensor, yours is"),
        (torch.zeros(2, 3), "the mask should have dtype torch.bool, yours has torch.float32"),
        (torch.zeros(3, 2, dtype=torch.bool), r"the mask should have shape \(2, 3\), yours has \(3, 2\)"),
    ],
)
def test_kind_dtype_and_shape_of_a_tensor_are_named(got, said):
    expect_tensor("the mask", torch.zeros(2, 3, dtype=torch.bool), shape=(2, 3), dtype=torch.bool)
    expect_tensor("anything", torch.zeros(1))
    with pytest.raises(CheckFailed, match=said):
        expect_tensor("the mask", got, shape=(2, 3), dtype=torch.bool)


def test_a_whole_number_is_no_float():
    expect_whole("bytes", 3, 3)
    with pytest.raises(CheckFailed, match=r"return an int, not 3\.0"):
        expect_whole("bytes", 3.0, 3)
    with pytest.raises(CheckFailed, match="expected 3, got 4"):
        expect_whole("bytes", 4, 3)


def test_the_first_mistake_with_the_same_value_gives_the_advice():
    mistakes = {"sign": -2.0, "twice": 4.0, "again": 4.0}
    assert likely_mistake(4.0, mistakes, "formula") == "twice"
    assert likely_mistake(4.1, mistakes, "formula") == likely_mistake("4", mistakes, "formula") == "formula"
    assert likely_mistake(torch.ones(2), {"sign": -torch.ones(2), "one": torch.ones(2)}, "formula") == "one"


def test_random_numbers_reach_both_ends():
    assert set(draw(torch.Generator().manual_seed(0), 2, 4, 60)) == {2, 3, 4}
