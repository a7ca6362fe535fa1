"""The colours of the course, with one meaning each in every panel, figure and table.

``LIGHT`` and ``DARK`` have the same names for the two themes; names that end in ``_text`` are the same hue with enough
contrast for small text. Source: Okabe and Ito, Color Universal Design, 2008.
"""

from __future__ import annotations

LIGHT = {
    "kept": "#0072B2",
    "before": "#E69F00",
    "threshold": "#D55E00",
    "holds": "#009E73",
    "cut": "#C3CBD3",
    "baseline": "#7B8794",
    "kept_text": "#0072B2",
    "before_text": "#8F6200",
    "threshold_text": "#B84F00",
    "holds_text": "#007A59",
    "baseline_text": "#5B6773",
}
DARK = {
    "kept": "#56B4E9",
    "before": "#E69F00",
    "threshold": "#E8743B",
    "holds": "#2CB98D",
    "cut": "#46505A",
    "baseline": "#8B96A1",
    "kept_text": "#56B4E9",
    "before_text": "#E69F00",
    "threshold_text": "#F08A55",
    "holds_text": "#3CC79B",
    "baseline_text": "#A3ADB7",
}
"""``kept``: kept, compressed or fine-tuned; ``before``: before tuning, round-to-nearest, or a student without teacher;
``threshold``: a threshold or "does not hold"; ``holds``: "holds"; ``cut``: removed; ``baseline``: the original model.
"""
