"""The still pictures of the lessons."""

from __future__ import annotations

from xml.etree import ElementTree

import pandas
import pytest

from course_lib.widgets import pictures


def drawing(picture):
    html = picture._repr_html_()
    return ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])


def texts(picture):
    return [element.text for element in drawing(picture).iter() if element.tag.endswith("text")]


def test_bars_name_their_entries_and_values_and_read_without_a_picture():
    picture = pictures.bars(
        pandas.Series({"fp32": 4.0, "fp16": 2.0}), title="Sizes", form=lambda value: f"{value:g} GB"
    )
    assert {"Sizes", "fp32", "4 GB", "fp16", "2 GB"} <= set(texts(picture))
    assert repr(picture) == "Sizes. fp32 4 GB, fp16 2 GB"


def test_curves_carry_one_line_for_each_column_and_mark_the_cursor():
    frame = pandas.DataFrame({"dense": [4.0, 4.0], "bitmask": [4.1, 0.5]}, index=[0.0, 0.9])
    picture = pictures.curves(frame, title="Size", x_label="sparsity", y_label="size (GB)", cursor=0.5)
    lines = [element for element in drawing(picture).iter() if element.tag.endswith("polyline")]
    assert len(lines) == 2 and {"dense", "bitmask", "sparsity", "size (GB)"} <= set(texts(picture))
    assert "dashed" in picture._repr_html_()


def test_curves_on_logarithmic_axes_do_not_start_at_zero():
    frame = pandas.DataFrame({"reading": [10.0, 10.0], "calculating": [0.1, 100.0]}, index=[1, 1000])
    picture = pictures.curves(frame, title="Time", x_label="batch", y_label="ms", log_x=True, log_y=True)
    assert {"1", "10", "100", "1k"} <= set(texts(picture))


def test_a_verdict_stands_in_words_and_its_kind_is_checked():
    picture = pictures.verdicts([("90 % sparse", "10×", "1.0×", "does not hold", "zeros are multiplied too")])
    assert repr(picture) == "90 % sparse: said 10×, found 1.0×; does not hold: zeros are multiplied too"
    assert "zeros are multiplied too" in picture._repr_html_()
    with pytest.raises(ValueError, match="kind"):
        pictures.verdicts([("claim", "a", "b", "perhaps", "")])
