"""Rate–distortion curves: error of the weights against bits per weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from course_lib.plots.axes import draw_curves
from course_lib.plots.figure import Picture, canvas, described


def rate_distortion(rows: Sequence[dict[str, Any]], *, title: str, most_bits: float = 4.0) -> Picture:
    """One curve per method: signal-to-noise ratio in decibels over bits per weight; higher is better.

    Args:
        rows: each with ``method``, ``bits`` (per weight) and ``error`` (mean squared, as a share of the mean square).
        most_bits: points with more are left out.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["bits"] <= most_bits:
            points.setdefault(row["method"], []).append((row["bits"], -10 * math.log10(row["error"])))
    curves = {}
    for method, found in points.items():
        x, y = zip(*sorted(found), strict=True)
        curves[method] = (x, y)
    with canvas(title, "bits per weight", "signal-to-noise ratio (dB)") as (picture, axes):
        draw_curves(axes, curves, bottom=0)
    ends = (f"{method} {y[-1]:.1f} dB at {x[-1]:.1f} bits" for method, (x, y) in curves.items())
    return described(picture, title, "; ".join(ends))
