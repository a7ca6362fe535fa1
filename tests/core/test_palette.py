"""Both themes have the same colours, and small text has enough contrast (WCAG 2: 4.5 to 1)."""

import pytest

from course_lib.core.palette import DARK, LIGHT


def luminance(colour):
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_both_themes_have_the_same_names():
    assert LIGHT.keys() == DARK.keys()


@pytest.mark.parametrize(("theme", "background"), [(LIGHT, "#FFFFFF"), (DARK, "#111111")])
def test_small_text_has_enough_contrast(theme, background):
    for name, colour in theme.items():
        if name.endswith("_text"):
            low, high = sorted((luminance(colour), luminance(background)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name
