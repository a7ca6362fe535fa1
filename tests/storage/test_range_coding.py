"""The range coder's streams are the same everywhere: an independent decoder in Python's integers reads them."""

import bisect
import hashlib
from itertools import accumulate

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.storage.encodings import FormatError
from course_lib.storage.range_coding import FREQUENCY_BITS, Decoder, Encoder, LengthCounter, frequencies

WORD, STATE, PRECISION = 32, 64, 24


class IntegerDecoder:
    """A range decoder of 64-bit state and 32-bit words that uses nothing but Python's integers."""

    def __init__(self, stream):
        self.words = [int.from_bytes(stream[start : start + 4], "little") for start in range(0, len(stream), 4)]
        self.lower, self.range, self.point = 0, 2**STATE - 1, (self.next_word() << WORD) | self.next_word()

    def next_word(self):
        return self.words.pop(0) if self.words else 0

    def symbol(self, table):
        """The next symbol; ``table`` holds integer frequencies with a sum of 2^20."""
        free = 2**PRECISION - len(table)
        starts = [below * free // 2**FREQUENCY_BITS + place for place, below in enumerate(accumulate([0, *table[:-1]]))]
        scale = self.range >> PRECISION
        quantile = ((self.point - self.lower) % 2**STATE) // scale
        found = bisect.bisect_right(starts, quantile) - 1
        end = 2**PRECISION if found == len(table) - 1 else starts[found + 1]
        self.lower = (self.lower + scale * starts[found]) % 2**STATE
        self.range = scale * (end - starts[found])
        if self.range < 2**WORD:
            self.lower, self.range = (self.lower << WORD) % 2**STATE, self.range << WORD
            self.point = ((self.point << WORD) % 2**STATE) | self.next_word()
        return found


def tables(seed, number=20, symbols=18):
    generator = numpy.random.default_rng(seed)
    return frequencies((generator.pareto(0.7, (number, symbols)) * 50).astype(numpy.int64).clip(0, 10**9) + 1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_an_integer_decoder_reads_what_the_encoder_wrote(seed):
    generator = numpy.random.default_rng(seed)
    encoder, written = Encoder(), []
    for table in tables(seed):
        symbols = generator.choice(len(table), 20, p=table / table.sum())
        encoder.code(table, len(symbols), symbols)
        written.append((table.astype(int).tolist(), symbols.tolist()))
    decoder = IntegerDecoder(encoder.finish())
    for table, symbols in written:
        assert [decoder.symbol(table) for _ in symbols] == symbols


def test_the_same_symbols_always_give_the_same_bytes():
    encoder = Encoder()
    state = 1
    for table in frequencies(numpy.array([[2000, 300, 40, 5], [7, 7, 7, 7], [1, 10**6, 3, 10**4]])):
        symbols = []
        for _ in range(500):  # a generator of its own, so that no library can change the numbers
            state = state * 6364136223846793005 % 2**64 + 1442695040888963407
            symbols.append(state >> 40 & 3)
        encoder.code(table, len(symbols), numpy.array(symbols))
    encoder.raw(17, 3, numpy.array([0, 1, 2**17 - 1]))
    assert hashlib.sha256(encoder.finish()).hexdigest()[:16] == "9970c2c9916ae0fa"


@pytest.mark.parametrize("bits", [1, 8, 12, 13, 31])
def test_raw_values_take_their_bits(bits):
    values = numpy.random.default_rng(0).integers(0, 2**bits, 1000)
    encoder = Encoder()
    encoder.raw(bits, len(values), values)
    stream = encoder.finish()
    assert len(stream) <= bits * 125 + 12
    assert numpy.array_equal(Decoder(stream).raw(bits, len(values), None), values)


def test_frequencies_are_integers_of_at_least_one_with_a_fixed_sum():
    counts = numpy.array([[0, 0, 1], [10**12, 1, 1], [5, 5, 6]])
    table = frequencies(counts)
    assert (table == table.round()).all() and table.min() >= 1
    assert (table.sum(1) == 2**FREQUENCY_BITS).all()
    assert table[2, 0] == pytest.approx(2**FREQUENCY_BITS * 5 / 16, abs=3)


def test_the_counted_length_is_the_sum_of_negative_logarithms_and_near_the_stream():
    table = frequencies(numpy.array([[8, 4, 2, 2]]))[0]
    symbols = numpy.random.default_rng(0).choice(4, 4000, p=[0.5, 0.25, 0.125, 0.125])
    counter, encoder = LengthCounter(), Encoder()
    for coder in (counter, encoder):
        coder.code(table, len(symbols), symbols)
        coder.raw(5, 100, numpy.arange(100) % 32)
    occurrences = numpy.bincount(symbols)
    assert counter.bits == pytest.approx(occurrences @ [1, 2, 3, 3] + 500, rel=1e-4)
    stream = encoder.finish()
    assert counter.bits <= 8 * len(stream) <= 1.005 * counter.bits + 64
    measured = LengthCounter(Decoder(stream))
    assert numpy.array_equal(measured.code(table, len(symbols), None), symbols)
    measured.raw(5, 100, None)
    assert measured.bits == counter.bits


def test_a_stream_that_goes_on_or_is_no_words_is_refused():
    encoder = Encoder()
    encoder.code(frequencies(numpy.array([[1, 1]]))[0], 100, numpy.arange(100) % 2)
    stream = encoder.finish()
    decoder = Decoder(stream + bytes([1, 2, 3, 4]) * 3)
    decoder.code(frequencies(numpy.array([[1, 1]]))[0], 100, None)
    with pytest.raises(FormatError, match="goes on behind its last symbol"):
        decoder.finish()
    with pytest.raises(FormatError, match="no 32-bit words"):
        Decoder(stream + b"x")
