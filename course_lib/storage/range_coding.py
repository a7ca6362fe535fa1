"""Range coding of symbols with integer frequencies: an encoder, a decoder, and a counter of the ideal code length.

The three have the same methods, so that one function, which drives them, serves for all: ``code`` takes the symbols to
encode and returns them, or decodes and returns as many. The range coder is that of ``constriction``; frequencies are
integers with a sum of 2^20, which its fixed-point model (24 bits) represents in the same way on every platform.

Sources: Martin, Range encoding, 1979; Bamler, Understanding Entropy Coding With Asymmetric Numeral Systems, 2022
(constriction).
"""

from __future__ import annotations

from typing import Any, Protocol

import constriction
import numpy
from numpy.typing import NDArray

from course_lib.storage.encodings import FormatError

FREQUENCY_BITS = 20
RAW_BITS = 12  # bits that are coded at once without a model

Integers = NDArray[Any]
models, queue = constriction.stream.model, constriction.stream.queue


class SymbolCoder(Protocol):
    """What ``Encoder``, ``Decoder`` and ``LengthCounter`` have in common."""

    def code(self, frequencies: Integers, count: int, symbols: Integers | None) -> Integers:
        """Code ``count`` symbols that share one row of frequencies; returns them."""

    def raw(self, bits: int, count: int, values: Integers | None) -> Integers:
        """Code ``count`` values of ``bits`` bits each, all equally probable; returns them."""


class Encoder:
    """Writes symbols to a stream."""

    def __init__(self) -> None:
        self._coder = queue.RangeEncoder()

    def code(self, frequencies: Integers, count: int, symbols: Integers | None) -> Integers:
        """Append the symbols."""
        assert symbols is not None
        self._coder.encode(symbols.astype(numpy.int32), _model(frequencies))
        return symbols

    def raw(self, bits: int, count: int, values: Integers | None) -> Integers:
        """Append the values."""
        assert values is not None
        for shift, width in _digits(bits):
            digits = (values >> shift) & (2**width - 1)
            self._coder.encode(digits.astype(numpy.int32), models.Uniform(2**width))
        return values

    def finish(self) -> bytes:
        """The whole stream: 32-bit words, low byte first."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class Decoder:
    """Reads symbols from a stream that may be damaged: it then returns other symbols, or raises ``FormatError``."""

    def __init__(self, stream: bytes) -> None:
        if len(stream) % 4:
            raise FormatError(f"its coded stream has {len(stream):,} bytes, which are no 32-bit words")
        self._coder = queue.RangeDecoder(numpy.frombuffer(stream, "<u4").astype(numpy.uint32))

    def code(self, frequencies: Integers, count: int, symbols: Integers | None) -> Integers:
        """The next ``count`` symbols."""
        return self._decode(_model(frequencies), count)

    def raw(self, bits: int, count: int, values: Integers | None) -> Integers:
        """The next ``count`` values."""
        read = numpy.zeros(count, numpy.int64)
        for shift, width in _digits(bits):
            read |= self._decode(models.Uniform(2**width), count).astype(numpy.int64) << shift
        return read

    def _decode(self, model: Any, count: int) -> Integers:
        try:
            return self._coder.decode(model, count)
        except AssertionError as error:
            raise FormatError("its coded stream is damaged") from error

    def finish(self) -> None:
        """Raise ``FormatError`` if the stream goes on."""
        if not self._coder.maybe_exhausted():
            raise FormatError("its coded stream goes on behind its last symbol")


class LengthCounter:
    """Adds up the ideal code length of symbols, -log2(probability) each, in ``bits``.

    With ``decoder`` it measures what is decoded.
    """

    def __init__(self, decoder: Decoder | None = None) -> None:
        self.bits = 0.0
        self._decoder = decoder

    def code(self, frequencies: Integers, count: int, symbols: Integers | None) -> Integers:
        """Add the ideal code length of the symbols."""
        coded = symbols if self._decoder is None else self._decoder.code(frequencies, count, None)
        assert coded is not None
        occurrences = numpy.bincount(coded, minlength=len(frequencies))
        self.bits += float(occurrences @ (FREQUENCY_BITS - numpy.log2(frequencies)))
        return coded

    def raw(self, bits: int, count: int, values: Integers | None) -> Integers:
        """Add ``bits`` for each value."""
        coded = values if self._decoder is None else self._decoder.raw(bits, count, None)
        assert coded is not None
        self.bits += bits * count
        return coded


def frequencies(counts: Integers) -> Integers:
    """Rows of counts [rows, symbols] scaled to integers of at least 1 with a sum of 2^20 a row.

    They are returned as float64, which holds them exactly.
    """
    symbols = counts.shape[1]
    scaled = 1 + counts * (2**FREQUENCY_BITS - symbols) // counts.sum(1, keepdims=True)
    scaled[numpy.arange(len(counts)), counts.argmax(1)] += 2**FREQUENCY_BITS - scaled.sum(1)
    return scaled.astype(numpy.float64)


def _model(frequencies: Integers) -> Any:
    return models.Categorical(frequencies, perfect=False)


def _digits(bits: int) -> list[tuple[int, int]]:
    """(Shift, width) of the digits of at most ``RAW_BITS`` bits that make up a value of ``bits`` bits."""
    return [(shift, min(RAW_BITS, bits - shift)) for shift in range(0, bits, RAW_BITS)]
