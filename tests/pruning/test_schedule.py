from __future__ import annotations

import pytest

from course_lib.pruning import cubic_sparsity, linear_sparsity


@pytest.mark.parametrize("schedule", [cubic_sparsity, linear_sparsity])
@pytest.mark.parametrize(("initial", "final"), [(0.0, 0.9), (0.1, 0.9), (0.1, 0.7), (0.5, 0.5), (0.0, 0.0)])
def test_a_schedule_is_exact_at_both_ends_and_never_falls(schedule, initial, final):
    values = [schedule(step, 37, initial, final) for step in range(40)]
    assert values[0] == initial
    assert values[37:] == [final] * 3
    assert values == sorted(values)
    assert max(values) <= final


def test_the_cubic_schedule_follows_the_formula():
    for step in range(11):
        assert cubic_sparsity(step, 10, 0.1, 0.9) == pytest.approx(0.9 + (0.1 - 0.9) * (1 - step / 10) ** 3)


def test_the_cubic_schedule_is_ahead_of_the_linear_one():
    assert all(cubic_sparsity(step, 10, 0, 0.9) > linear_sparsity(step, 10, 0, 0.9) for step in range(1, 10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 0, 0.9), "total_steps must be greater than 0, got 0"),
        ((-1, 10, 0, 0.9), "step must be at least 0, got -1"),
        ((1, 10, -0.1, 0.9), r"initial must lie in \[0, 1\)"),
        ((1, 10, 0, 1.0), r"final must lie in \[0, 1\)"),
        ((1, 10, 0.9, 0.5), "final must be at least initial .0.9., got 0.5"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    for schedule in (cubic_sparsity, linear_sparsity):
        with pytest.raises(ValueError, match=message):
            schedule(*arguments)
