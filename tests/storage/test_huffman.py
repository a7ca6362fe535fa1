"""Canonical Huffman codes: optimal lengths, tables that are checked, and blocks that end where they should."""

import heapq

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.storage.encodings import FormatError
from course_lib.storage.huffman import LONGEST_CODE, canonical_codes, code_lengths, look_up_table
from course_lib.storage.huffman_parts import HuffmanReader, HuffmanWriter

WIKIPEDIA = {"counts": [5, 9, 12, 13, 16, 45], "lengths": [4, 4, 3, 3, 3, 1]}


def total_bits(counts):
    """The cost of an optimal prefix code: the sum of all joined weights, found without building a tree."""
    heap, total = [count for count in counts if count], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


def test_lengths_and_codes_of_a_known_example():
    lengths = code_lengths(numpy.array(WIKIPEDIA["counts"]))
    assert lengths.tolist() == WIKIPEDIA["lengths"]
    codes = canonical_codes(lengths)
    assert [f"{code:0{length}b}" for code, length in zip(codes, lengths, strict=True)] == [
        "1110", "1111", "100", "101", "110", "0",
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 1000), min_size=2, max_size=60))
def test_lengths_are_optimal_and_make_a_full_prefix_code(counts):
    lengths = code_lengths(numpy.array(counts))
    used = [length for length in lengths.tolist() if length]
    assert len(used) == sum(count > 0 for count in counts)
    if len(used) > 1:
        assert sum(2.0**-length for length in used) == 1
        assert lengths @ numpy.array(counts) == total_bits(counts)


def test_no_code_is_longer_than_the_limit():
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(numpy.array(fibonacci))
    assert lengths.max() <= LONGEST_CODE
    assert sum(2.0**-length for length in lengths.tolist()) == 1


@pytest.mark.parametrize("lengths", [[0, 0, 0], [1, 0, 0], [2, 2, 2], [1, 1, 1], [33, 1, 1], [2, 0], [16, 1]])
def test_lengths_of_no_full_tree_are_refused(lengths):
    if lengths == [1, 0, 0]:
        assert (look_up_table(numpy.array(lengths)) == 1 << 8).all()
        return
    with pytest.raises(FormatError, match="no full prefix code"):
        look_up_table(numpy.array(lengths))


def written(*pieces):
    writer = HuffmanWriter()
    for piece in pieces:
        if isinstance(piece, torch.Tensor):
            writer.values(piece.dtype, piece.numel(), piece)
        else:
            writer.levels(piece.shape, piece)
    return writer.finish()


def assert_read(stream, *pieces):
    reader = HuffmanReader(stream, measured=True)
    for piece in pieces:
        if isinstance(piece, torch.Tensor):
            assert torch.equal(reader.values(piece.dtype, piece.numel(), None), piece)
        else:
            assert numpy.array_equal(reader.levels(piece.shape, None), piece)
    reader.finish()
    return reader


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 40), max_size=3), max_size=4),
    largest=st.sampled_from([0, 1, 5, 126, 127, 128, 2**31 - 1]),
    seed=st.integers(0, 2**31),
)
def test_levels_and_values_come_back(shapes, largest, seed):
    generator = numpy.random.default_rng(seed)
    pieces = [generator.integers(-largest, largest, shape, endpoint=True) for shape in shapes]
    values = [torch.from_numpy(generator.normal(size=7)).half(), torch.arange(5), torch.zeros(0)]
    assert_read(written(*pieces, *values), *pieces, *values)


def test_many_blocks_are_read_side_by_side():
    levels = numpy.random.default_rng(0).laplace(0, 1, (300, 200)).round().astype(int)
    reader = assert_read(written(levels), levels)
    shares = numpy.unique(levels, return_counts=True)[1] / levels.size
    entropy = -(shares * numpy.log2(shares)).sum() * levels.size
    assert reader.ideal_bits == pytest.approx(entropy)
    assert entropy < reader.bits < 1.1 * entropy
    assert len(written(levels)) * 8 < reader.bits + 8 * 150


LEVELS = numpy.array([0, 0, 0, 1, -1, 2, 0, 500])


@pytest.fixture
def stream():
    """One table with the symbols 0, 1, 2, 4 and 255, their code lengths, the number of symbols, one block."""
    content = bytearray(written(LEVELS))
    assert content[:8] == bytes([1, 0, 4, 0, 1, 2, 4, 255])
    assert content[13:19] == bytes([8, 0, 0, 0, 16, 0])
    return content


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (8, 0, "code of 0 bits"), (8, 33, "no full prefix code"), (8, 2, "no full prefix code"), (4, 0, "symbol twice"),
        (1, 255, "allowed are 1,100"), (18, 255, "end too early"), (0, 2, "Huffman"), (14, 1, "more than it has bits"),
        (13, 7, "does not end where it should"), (17, 17, "does not end where it should"),
    ],
)  # fmt: skip
def test_damaged_tables_and_blocks_are_refused(stream, place, value, message):
    stream[place] = value
    with pytest.raises(FormatError, match=message):
        HuffmanReader(bytes(stream))


def test_levels_of_another_number_and_missing_escapes_are_refused(stream):
    with pytest.raises(FormatError, match="should have 9 more Huffman codes"):
        HuffmanReader(bytes(stream)).levels((9,), None)
    with pytest.raises(FormatError, match="should have 9 more Huffman codes of table 0"):
        HuffmanReader(bytes(stream)).values(torch.uint8, 9, None)
    reader = HuffmanReader(bytes(stream))
    reader.levels(LEVELS.shape, None)
    with pytest.raises(FormatError, match="should have 1 more Huffman codes of table 1"):
        reader.values(torch.uint8, 1, None)
    with pytest.raises(FormatError, match="escaped levels are missing"):
        HuffmanReader(bytes(stream[:-4])).levels(LEVELS.shape, None)
    for rest in (bytes(4), bytes(1)):
        reader = HuffmanReader(bytes(stream) + rest)
        reader.levels(LEVELS.shape, None)
        with pytest.raises(FormatError, match="go on behind the last symbol"):
            reader.finish()


def test_a_claim_of_billions_of_symbols_is_refused(stream):
    stream[13:17] = bytes([255] * 4)
    with pytest.raises(FormatError, match=r"4,294,967,295 symbols, more than it has bits"):
        HuffmanReader(bytes(stream))
