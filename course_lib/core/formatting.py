"""Number formats with three significant digits and powers of ten, and positions of labels that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence


def compact(value: float) -> str:
    """A count with the suffix k, M, B or T: ``1.18M``, ``17.5B``, ``175B``."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def byte_size(count: float) -> str:
    """Bytes as ``70 GB``, ``5.90 MB``, ``12 kB`` or ``640 bytes`` (powers of ten)."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= 0.9995 * size:
            digits = 0 if count >= 99.95 * size else 1 if count >= 9.995 * size else 2
            return f"{count / size:,.{digits}f} {unit}".replace(".0 ", " ").replace(".00 ", " ")
    return f"{count:.0f} bytes"


def duration(milliseconds: float) -> str:
    """Milliseconds as ``0.61 ms``, ``13.7 ms`` or ``13.7 s``."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.3g} s" if milliseconds < 1e6 else f"{milliseconds / 1000:,.0f} s"
    return f"{milliseconds:.3g} ms"


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """The positions moved apart to a distance of at least ``gap``, so that labels do not overlap."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    placed = list(positions)
    for before, after in zip(order, order[1:], strict=False):
        placed[after] = max(placed[after], placed[before] + gap)
    shift = (sum(placed) - sum(positions)) / len(positions) if positions else 0.0
    return [position - shift for position in placed]
