"""Huffman codes: the textbook's values, Kraft's equality, an exhaustive search, gaps that are split."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from course_lib import coding


def shortest(counts):
    """Fewest bits of any prefix code, by trying all lengths that satisfy Kraft's inequality."""
    lengths = itertools.product(range(1, len(counts)), repeat=len(counts))
    return min(coding.code_bits(counts, one) for one in lengths if sum(2.0**-length for length in one) <= 1)


def test_lengths_of_the_usual_example():
    assert coding.code_lengths([45, 13, 12, 16, 9, 5]) == [1, 3, 3, 3, 4, 4]


@pytest.mark.parametrize("counts", [[1, 1, 1], [5, 2, 1, 1], [1, 2, 4, 8], [7, 7, 7, 7, 1]])
def test_no_prefix_code_is_shorter(counts):
    lengths = coding.code_lengths(counts)
    assert coding.code_bits(counts, lengths) == shortest(counts)
    assert sum(2.0**-length for length in lengths) == 1


def test_symbols_that_do_not_occur_have_no_code_and_a_single_one_has_a_bit():
    assert coding.code_lengths([0, 3, 0]) == [0, 1, 0]
    assert coding.canonical_codes([0, 1, 0]) == {1: "0"}


def test_canonical_codes_count_upwards():
    assert coding.canonical_codes([2, 1, 3, 3]) == {1: "0", 0: "10", 2: "110", 3: "111"}


def test_no_code_word_begins_another():
    codes = coding.canonical_codes(coding.code_lengths([3, 1, 4, 1, 5, 9, 2, 6])).values()
    assert not any(one != other and other.startswith(one) for one in codes for other in codes)


def test_decoding_gives_the_symbols_back():
    symbols = [3, 1, 4, 1, 5, 2, 6, 5, 3, 5]
    codes = coding.canonical_codes(coding.code_lengths(torch.bincount(torch.tensor(symbols)).tolist()))
    assert coding.decode(coding.encode(symbols, codes), codes) == symbols
    with pytest.raises(ValueError, match="no code word"):
        coding.decode(coding.encode(symbols, codes)[:-1], codes)


def test_the_mean_length_is_within_a_bit_of_the_entropy():
    counts = [50, 30, 12, 5, 2, 1]
    assert coding.entropy(counts) <= coding.huffman_bits_per_symbol(counts) < coding.entropy(counts) + 1
    assert coding.huffman_bits_per_symbol([8, 4, 2, 2]) == coding.entropy([8, 4, 2, 2]) == 1.75


def test_entropy_is_taken_from_counts_or_probabilities():
    assert coding.entropy([1, 1, 1, 1]) == 2 == coding.entropy([0.25] * 4)
    assert coding.entropy([7, 0]) == 0
    p = [0.2, 0.8]
    assert coding.entropy(p) == pytest.approx(-sum(q * math.log2(q) for q in p))


@pytest.mark.parametrize("lengths", [[1, 1, 1], [0, 1, 1, 2]])
def test_lengths_of_no_prefix_code_are_refused(lengths):
    with pytest.raises(ValueError, match="no prefix code"):
        coding.canonical_codes(lengths)


@pytest.mark.parametrize("lengths", [[33, 1], [-1, 1]])
def test_lengths_out_of_range_are_refused(lengths):
    with pytest.raises(ValueError, match="from 0 to 32"):
        coding.canonical_codes(lengths)


def test_counts_that_need_more_than_32_bits_are_refused():
    fibonacci = [1, 1]
    while len(fibonacci) < 35:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    with pytest.raises(ValueError, match="34 bits"):
        coding.code_lengths(fibonacci)


@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1]])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="counts must be"):
        coding.code_lengths(counts)


def restore(distances, size, length):
    """Places of the nonzeros, by reading the gaps one after another."""
    places, place = [], -1
    for gap in distances:
        place += gap + 1
        places.append(place)
    return [place for place in places if place < length]


def test_gaps_count_the_zeros_before_each_nonzero():
    nonzero = torch.tensor([False, True, True, False, False, False, True])
    assert coding.gaps(nonzero, 3).tolist() == [1, 0, 3]


def test_a_gap_that_does_not_fit_is_split_by_a_filler():
    nonzero = torch.zeros(14, dtype=torch.bool)
    nonzero[[0, 9, 13]] = True
    assert coding.gaps(nonzero, 2).tolist() == [0, 3, 3, 0, 3]
    assert restore([0, 3, 3, 0, 3], 4, 14) == [0, 4, 8, 9, 13]  # 4 and 8 are fillers


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_gaps_lead_to_every_nonzero(bits):
    nonzero = torch.rand(300, generator=torch.Generator().manual_seed(bits)) < 0.1
    places = restore(coding.gaps(nonzero, bits).tolist(), 2**bits, 300)
    wanted = nonzero.nonzero().flatten().tolist()
    assert set(wanted) <= set(places) and places[-1] == wanted[-1]
    assert len(places) == len(wanted) + sum((b - a - 1) // 2**bits for a, b in itertools.pairwise([-1, *wanted]))


def test_gaps_of_nothing_are_empty():
    assert coding.gaps(torch.zeros(5, dtype=torch.bool), 3).tolist() == []
