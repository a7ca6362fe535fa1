"""A budget over several layers: met by the least harmful steps, and refused where nothing meets it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from course_lib.core.greedy_budget import Option, meet_budget, spend_remainder, total_cost

OPTIONS = {
    "a": {"whole": Option(100, 0.0), "half": Option(50, 0.1), "fifth": Option(20, 0.9)},
    "b": {"whole": Option(100, 0.0), "half": Option(60, 0.01), "fifth": Option(40, 0.02)},
}
WHOLE = dict.fromkeys(OPTIONS, "whole")


def harm(chosen):
    return sum(OPTIONS[layer][form].harm for layer, form in chosen.items())


@pytest.mark.parametrize("budget", [200, 160, 140, 90, 60])
def test_a_convex_budget_is_met_with_the_least_harm(budget):
    chosen = meet_budget(OPTIONS, WHOLE, budget, "bytes")
    assert total_cost(OPTIONS, chosen) <= budget
    combinations = (dict(zip("ab", forms, strict=True)) for forms in itertools.product(OPTIONS["a"], OPTIONS["b"]))
    assert harm(chosen) == min(harm(one) for one in combinations if total_cost(OPTIONS, one) <= budget)


def test_equal_steps_fall_to_the_earlier_layer_and_the_cheaper_form():
    forms = {"x": Option(3, 0.0), "y": Option(2, 0.0), "z": Option(1, 0.0)}
    assert meet_budget({"a": forms, "b": forms}, {"a": "x", "b": "x"}, 5, "bytes") == {"a": "z", "b": "x"}


def test_a_start_that_meets_the_budget_is_returned_as_it_is():
    start = {"a": "fifth", "b": "whole"}
    assert meet_budget(OPTIONS, start, 120, "bytes") == start


def test_a_budget_that_cannot_be_met_names_the_least():
    with pytest.raises(ValueError, match=r"budget must be at least 60 bytes \(the cheapest everywhere\), got 59"):
        meet_budget(OPTIONS, WHOLE, 59, "bytes")


def test_what_the_last_step_saved_too_much_is_spent_again():
    assert spend_remainder(OPTIONS, {"a": "fifth", "b": "fifth"}, 95) == {"a": "half", "b": "fifth"}
    assert spend_remainder(OPTIONS, {"a": "fifth", "b": "fifth"}, 69) == {"a": "fifth", "b": "fifth"}


FORMS = some.dictionaries(some.integers(0, 5), some.tuples(some.integers(1, 99), some.floats(0, 1)), min_size=1)


@given(some.lists(FORMS, min_size=1, max_size=4), some.integers(1, 400))
def test_a_budget_is_kept_whatever_the_forms_are(layers, budget):
    options = {str(i): {key: Option(*form) for key, form in forms.items()} for i, forms in enumerate(layers)}
    start = {layer: next(iter(forms)) for layer, forms in options.items()}
    least = sum(min(option.cost for option in forms.values()) for forms in options.values())
    if least > budget:
        with pytest.raises(ValueError, match=f"at least {least} bytes"):
            meet_budget(options, start, budget, "bytes")
        return
    chosen = meet_budget(options, start, budget, "bytes")
    spent = spend_remainder(options, chosen, budget)
    assert total_cost(options, chosen) <= budget and total_cost(options, spent) <= budget
    assert sum(options[k][v].harm for k, v in spent.items()) <= sum(options[k][v].harm for k, v in chosen.items())
