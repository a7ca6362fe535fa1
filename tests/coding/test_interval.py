"""Arithmetic coding in fractions: hand-worked intervals, all short messages, lengths against the ideal."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from course_lib import coding


def test_an_interval_narrows_to_the_part_of_each_symbol():
    found = coding.narrowing_intervals([0, 2, 1], [2, 1, 1])
    assert [(one.low, one.width) for one in found] == [
        (0, 1), (0, Fraction(1, 2)), (Fraction(3, 8), Fraction(1, 8)), (Fraction(7, 16), Fraction(1, 32)),
    ]  # fmt: skip
    assert found[-1].bits == 5.0


@pytest.mark.parametrize(
    ("low", "width", "bits"),
    [("0", "1", ""), ("1/2", "1/2", "1"), ("1/3", "1/3", "011"), ("7/16", "1/32", "01110"), ("0", "1/3", "00")],
)
def test_the_shortest_bits_whose_numbers_all_lie_in_the_interval(low, width, bits):
    assert coding.shortest_bits(coding.Interval(Fraction(low), Fraction(width))) == bits


@pytest.mark.parametrize("counts", [(1, 1, 1), (13, 2, 1), (5, 0, 3), (1, 7, 92)])
def test_every_short_message_comes_back_and_costs_less_than_two_bits_above_its_ideal_length(counts):
    symbols = [symbol for symbol, count in enumerate(counts) if count]
    for message in itertools.chain(*(itertools.product(symbols, repeat=length) for length in range(6))):
        bits = coding.arithmetic_encode(message, counts)
        assert coding.arithmetic_decode(bits, counts, len(message)) == list(message)
        ideal = sum(math.log2(sum(counts) / counts[symbol]) for symbol in message)
        assert ideal - 1e-9 <= len(bits) < ideal + 2


def test_no_code_is_the_beginning_of_another_of_the_same_length():
    codes = [coding.arithmetic_encode(message, (3, 2, 1)) for message in itertools.product(range(3), repeat=4)]
    assert not any(a != b and b.startswith(a) for a in codes for b in codes)


@pytest.mark.parametrize("message", [[3], [-1], [1]])
def test_a_symbol_that_cannot_occur_is_refused(message):
    with pytest.raises(ValueError, match=rf"positive count, got {message[0]} "):
        coding.arithmetic_encode(message, [3, 0, 1])
