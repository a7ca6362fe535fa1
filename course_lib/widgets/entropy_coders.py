"""The second panel of lesson 12: a short message coded twice, by a Huffman tree and by an interval that narrows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING

from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import Scale, chart, segment, text

if TYPE_CHECKING:
    from course_lib.coding import Interval

MESSAGES = {
    "mostly zeros": "0 0 0 + 0 0 0 0 − 0 0 0 + 0 0 0",
    "like a bell": "0 + − 0 0 − + 0 ++ 0 − + 0 − −− +",
    "all alike": "0 + ++ − 0 − + ++ + 0 ++ − − ++ 0 +",
}
"""Levels of 16 weights: 0, plus or minus one (+ −), plus or minus two (++ −−)."""
ORDER = ("−−", "−", "0", "+", "++")
LENGTH = 16
ROWS, ROW, GAP, TOP = 4, 26.0, 20.0, 66.0  # intervals that are shown; heights of a row and between two; first row
DIGITS = 40  # of a common beginning that are shown


@dataclass(frozen=True)
class Coded:
    """A message after ``position`` symbols.

    Args:
        symbols: the different symbols in order, with their ``counts`` in the whole message.
        message: numbers of symbols.
        codes: Huffman code word of each symbol.
        intervals: before the first symbol, and after each.
    """

    symbols: Sequence[str]
    counts: Sequence[int]
    message: Sequence[int]
    codes: Sequence[str]
    intervals: Sequence[Interval]
    position: int

    @property
    def huffman(self) -> str:
        """The code words of the symbols so far, one after another."""
        return "".join(self.codes[symbol] for symbol in self.message[: self.position])

    @property
    def known(self) -> str:
        """The binary digits that all numbers of the present interval begin with."""
        now = self.intervals[self.position]
        ends = (now.low, now.low + now.width)
        first, last = (int(end * 2**DIGITS) for end in ends)
        last -= int(ends[1] * 2**DIGITS == last)
        pairs = zip(format(first, f"0{DIGITS}b"), format(last, f"0{DIGITS}b"), strict=True)
        return "".join(digit for digit, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@cache
def code(message: str, position: int) -> Coded:
    """Both codes of one of ``MESSAGES``."""
    from course_lib import coding

    written = MESSAGES[message].split()
    symbols = [symbol for symbol in ORDER if symbol in written]
    counts = [written.count(symbol) for symbol in symbols]
    numbers = [symbols.index(symbol) for symbol in written]
    codes = coding.canonical_codes(coding.code_lengths(counts))
    words = [codes[symbol] for symbol in range(len(symbols))]
    return Coded(symbols, counts, numbers, words, coding.narrowing_intervals(numbers, counts), position)


def coder_panel(*, position: int = 4, message: str = "mostly zeros") -> Panel:
    """Step through a message, and see what each symbol costs by Huffman's code and by arithmetic coding.

    Args:
        position: symbols that are coded at the start, 0 to 16.
        message: a name in ``MESSAGES``.
    """
    return Panel(
        lambda position, weights: code(weights, position),
        draw,
        numbers=numbers,
        title="A tree, and an interval",
        subtitle="Each symbol narrows the interval to its part: a wide part costs little. Drag, or use the arrow keys.",
        position=slider(position, 0, LENGTH, label="Symbols coded"),
        weights=choice(*MESSAGES, value=message, label="Levels of 16 weights"),
    )


def draw(coded: Coded) -> str:
    """The interval and the tree."""
    return side_by_side(_intervals(coded), _tree(coded))


def numbers(coded: Coded) -> list[Number]:
    """Bits of both codes so far, and for the whole message."""
    n, whole = coded.position, sum(coded.counts)
    huffman = sum(len(word) * count for word, count in zip(coded.codes, coded.counts, strict=True))
    bits, total = coded.intervals[n].bits + 0.0, coded.intervals[-1].bits
    return [
        Number(f"{len(coded.huffman)} bits", f"Huffman so far; the whole message {huffman}", "exact"),
        Number(f"{bits:.2f} bits", f"interval so far; the whole message {total:.2f}", "exact"),
        Number(f"{huffman / whole:.2f}", f"bits per weight by Huffman, entropy {total / whole:.2f}", "exact"),
        Number(f"{huffman / total - 1:.0%}".replace("%", " %"), "that Huffman needs more", "exact"),
    ]


def _intervals(coded: Coded) -> str:
    """The message, and its last intervals, each drawn in full width and cut into the parts of the symbols."""
    n = coded.position
    first = max(0, n - ROWS + 1)
    parts = [*_message(coded)]
    for row, step in enumerate(range(first, n + 1)):
        chosen = coded.message[step] if step < n else None
        parts += _row(coded, TOP + row * (ROW + GAP), chosen)
    bottom = TOP + (n - first) * (ROW + GAP) + ROW + 16
    now = coded.intervals[n]
    parts.append(text(12, bottom, f"from {float(now.low):.7f}", classes="threshold-text"))
    end = f"to {float(now.low + now.width):.7f}"
    parts.append(text(charts.MAIN - 12, bottom, end, anchor="end", classes="threshold-text"))
    digits = f"binary digits that are certain: 0.{coded.known}" if coded.known else "no binary digit is certain yet"
    parts.append(text(12, bottom + 16, digits))
    height = TOP + ROWS * (ROW + GAP) + 16
    description = f"{n} of {LENGTH} symbols coded; the interval is {float(now.width):.2g} wide"
    return chart(parts, width=charts.MAIN, height=height, title="The interval of the message", description=description)


def _message(coded: Coded) -> Iterator[str]:
    """The symbols of the message in boxes, those that are coded in blue, the newest with a frame."""
    side = (charts.MAIN - 24) / LENGTH
    for index, symbol in enumerate(coded.message):
        left = 12 + index * side
        yield _box(left + 1, 24, side - 2, 20, "kept" if index < coded.position else "cut", 0.3)
        yield text(left + side / 2, 38, coded.symbols[symbol], anchor="middle", classes="title")
    if coded.position:
        yield _box(12 + (coded.position - 1) * side + 1, 24, side - 2, 20, "line threshold")


def _row(coded: Coded, top: float, chosen: int | None) -> Iterator[str]:
    """An interval in full width; the chosen part is blue, and opens to the next row."""
    total, start, x = sum(coded.counts), 0, Scale(0, 1, 12, charts.MAIN - 12)
    for symbol, count in enumerate(coded.counts):
        left, right = x(start / total), x((start + count) / total)
        yield _box(left + 0.75, top, right - left - 1.5, ROW, "kept" if symbol == chosen else "cut", 0.55)
        yield text((left + right) / 2, top + 17, coded.symbols[symbol], anchor="middle", classes="title")
        if symbol == chosen:
            for here, there in ((left, x.start), (right, x.end)):
                yield segment(here, top + ROW, there, top + ROW + GAP, "line kept dashed")
        start += count


def _tree(coded: Coded) -> str:
    """The tree of the code words, with the path of the newest symbol in blue."""
    newest = coded.codes[coded.message[coded.position - 1]] if coded.position else ""
    places, parts = _places(coded.codes), []
    for word, (x, y) in sorted(places.items(), key=lambda one: newest.startswith(one[0])):
        if word:
            (x0, y0), on = places[word[:-1]], newest.startswith(word)
            middle = (x0 + x) / 2 + (7 if word[-1] == "1" else -7), (y0 + y) / 2
            parts.append(segment(x0, y0, x, y, f"line {'kept' if on else 'cut'}"))
            parts.append(text(*middle, word[-1], anchor="middle", classes="kept-text" if on else ""))
    for symbol, count, word in zip(coded.symbols, coded.counts, coded.codes, strict=True):
        x, y = places[word]
        parts.append(text(x, y + 14, f"{symbol} · {count}×", anchor="middle", classes="title"))
        parts.append(text(x, y + 28, word, anchor="middle", classes="kept-text" if word == newest else ""))
    words = ", ".join(f"{symbol} {word}" for symbol, word in zip(coded.symbols, coded.codes, strict=True))
    return chart(parts, width=charts.COMPANION, height=charts.HEIGHT, title="Huffman's tree", description=words)


def _places(codes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Code word, or beginning of code words → where it stands in the tree."""
    leaves, deepest = sorted(codes), max(map(len, codes))
    across = Scale(0, max(1, len(leaves) - 1), 30, charts.COMPANION - 34)
    down = Scale(0, deepest, 34, charts.HEIGHT - 40)
    places = {word: (across(index), down(len(word))) for index, word in enumerate(leaves)}
    for length in range(deepest - 1, -1, -1):
        for prefix in sorted({word[:length] for word in leaves if len(word) > length}):
            below = [places[prefix + bit][0] for bit in "01" if prefix + bit in places]
            places[prefix] = sum(below) / len(below), down(length)
    return places


def _box(left: float, top: float, width: float, height: float, classes: str, opacity: float = 1.0) -> str:
    shade = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:g}" rx="2" class="{classes}"{shade}/>'
    )
