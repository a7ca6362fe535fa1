"""Checks return good values and name bad ones."""

import pytest

from course_lib.core.validation import check_choice, check_fraction, check_positive


def test_good_values_are_returned():
    assert check_fraction("sparsity", 0) == 0.0 and check_fraction("alpha", 1, below_one=False) == 1.0
    assert check_positive("epochs", 3) == 3
    assert check_choice("dtype", "fp16", ("fp32", "fp16")) == "fp16"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_fraction("sparsity", 1), r"sparsity must lie in \[0, 1\), got 1"),
        (lambda: check_fraction("alpha", 1.1, below_one=False), r"alpha must lie in \[0, 1\], got 1.1"),
        (lambda: check_fraction("sparsity", float("nan")), "got nan"),
        (lambda: check_positive("epochs", 0), "epochs must be greater than 0, got 0"),
        (lambda: check_positive("rate", float("nan")), "got nan"),
        (lambda: check_choice("dtype", "int8", ("fp32", "fp16")), "dtype must be one of 'fp32', 'fp16'; got 'int8'"),
    ],
)
def test_bad_values_are_named(check, message):
    with pytest.raises(ValueError, match=message):
        check()
