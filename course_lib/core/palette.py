"""The colours of the course, with one meaning each in every panel, figure and table.

``LIGHT`` and ``DARK`` have the same names for the two themes; names that end in ``_text`` are the same hue with enough
contrast for small text. Source: Okabe and Ito, Color Universal Design, 2008.

A stored picture is on white. ``inverted`` is the style rule that a dark theme needs for it: no ink has the contrast of
4.5 that small text wants on both white and the dark theme's #111111, where the best for both is 4.3 (WCAG 2.1, 2018).
"""

from __future__ import annotations

_COLOURS = {
    "kept": ("#0072B2", "#56B4E9"),  # kept, compressed or fine-tuned
    "before": ("#E69F00", "#E69F00"),  # before tuning, round-to-nearest, or a student without teacher
    "threshold": ("#D55E00", "#E8743B"),  # a threshold, or "does not hold"
    "holds": ("#009E73", "#2CB98D"),
    "cut": ("#C3CBD3", "#46505A"),  # removed
    "baseline": ("#7B8794", "#8B96A1"),  # the original model
    "kept_text": ("#0072B2", "#56B4E9"),
    "before_text": ("#8F6200", "#E69F00"),
    "threshold_text": ("#B84F00", "#F08A55"),
    "holds_text": ("#007A59", "#3CC79B"),
    "baseline_text": ("#5B6773", "#A3ADB7"),
}
LIGHT = {name: light for name, (light, _) in _COLOURS.items()}
DARK = {name: dark for name, (_, dark) in _COLOURS.items()}

DARK_THEMES = ('body[data-jp-theme-light="false"]', "body.vscode-dark", "html[theme=dark]")


def inverted(selector: str) -> str:
    """A style rule that inverts what ``selector`` matches in a dark theme, and keeps its hues."""
    places = ",".join(f"{theme} {selector}" for theme in DARK_THEMES)
    return f"{places}{{filter:invert(.92) hue-rotate(180deg)}}"
