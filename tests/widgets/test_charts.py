import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.widgets import charts
from course_lib.widgets.svg import LINE_HEIGHT, Scale

SVG = "{http://www.w3.org/2000/svg}"
EDGES = [-2.0, -1.0, 0.0, 1.0, 2.0]
COUNTS = [1, 5, 7, 3]


def parse(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)


def widths(chart: ElementTree.Element, kind: str) -> list[float]:
    """Widths of the bars of one colour, in SVG units."""
    paths = [path.attrib["d"] for path in chart.iter(f"{SVG}path") if path.attrib["class"] == kind]
    return [float(end) - float(start) for path in paths for start, end in re.findall(r"M([\d.]+) .*?H([\d.]+)", path)]


def words(chart: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in chart.iter(f"{SVG}text")]


def test_a_histogram_without_a_threshold_keeps_everything():
    chart = parse(charts.histogram(EDGES, COUNTS, title="Weights"))
    assert len(widths(chart, "kept")) == 4 and not widths(chart, "cut")


def test_a_bar_is_split_where_the_threshold_crosses_it():
    chart = parse(charts.histogram(EDGES, COUNTS, title="Weights", threshold=0.5))
    cut, kept = widths(chart, "cut"), widths(chart, "kept")
    assert len(cut) == 2 and len(kept) == 4
    assert sum(cut) == pytest.approx(sum(kept) / 3, rel=0.01)
    assert "|w| = 0.5" in words(chart)


def test_every_chart_says_in_words_what_it_shows():
    line = charts.Line("cut <only>", [0, 50, 90], [93, 92, 40], "before", "square")
    point = charts.Point("conv1 & more", 3, 40)
    drawn = [
        charts.histogram(EDGES, COUNTS, title="Weights", threshold=1.0),
        charts.lines([line], title="Accuracy", x_label="sparsity (%)", y_label="accuracy (%)", cursor=50),
        charts.bars(["a", "b"], [1, 2], title="Sizes"),
        charts.roofline([point], peak_gflops=100, bandwidth_gbs=10, title="Layers"),
    ]
    for chart in map(parse, drawn):
        assert chart.attrib["role"] == "img" and len(chart.attrib["aria-label"]) > 8
        assert words(chart)[0] == chart.attrib["aria-label"].split(".")[0]


def test_a_line_is_named_at_its_end_and_names_keep_apart():
    series = [charts.Line(name, [0, 1], [0, 1], marker="circle") for name in ("one", "two", "three")]
    chart = parse(charts.lines(series, title="Lines", x_label="x (s)", y_label="y (m)"))
    heights = [float(text.attrib["y"]) for text in chart.iter(f"{SVG}text") if text.text in ("one", "two", "three")]
    gaps = sorted(heights)
    assert all(after - before >= LINE_HEIGHT - 0.11 for before, after in zip(gaps, gaps[1:], strict=False))


def test_axes_carry_their_labels_and_units():
    line = charts.Line("kept", [0, 100], [0, 1])
    chart = parse(charts.lines([line], title="T", x_label="sparsity (%)", y_label="time (ms)"))
    assert {"sparsity (%)", "time (ms)", "0", "100"} <= set(words(chart))


def test_bars_are_as_long_as_their_values():
    chart = parse(charts.bars(["small", "large", "none"], [1, 4, 0], title="Sizes"))
    small, large, none = (float(rect.attrib["width"]) for rect in chart.iter(f"{SVG}rect"))
    assert large == pytest.approx(4 * small, rel=0.01) and none == 0


def test_all_text_of_a_roofline_stays_inside():
    points = [charts.Point("far right", 900, 90, label="a layer with a long name"), charts.Point("left", 0.2, 2)]
    chart = parse(charts.roofline(points, peak_gflops=100, bandwidth_gbs=10, title="Layers"))
    width = float(chart.attrib["viewBox"].split()[2])
    label = next(text for text in chart.iter(f"{SVG}text") if text.text == "a layer with a long name")
    assert float(label.attrib["x"]) + 6 * len(label.text or "") < width


def test_labels_of_points_do_not_cover_each_other():
    points = [charts.Point("x", 5, 40, label=f"layer {index}") for index in range(4)]
    chart = parse(charts.roofline(points, peak_gflops=100, bandwidth_gbs=10, title="Layers"))
    heights = sorted(float(text.attrib["y"]) for text in chart.iter(f"{SVG}text") if "layer " in (text.text or ""))
    assert all(after - before >= LINE_HEIGHT - 0.11 for before, after in zip(heights, heights[1:], strict=False))


def test_a_log_axis_ticks_at_powers_of_ten():
    assert Scale(0.5, 2000, 0, 1, log=True).ticks() == [1, 10, 100, 1000]


@settings(deadline=None, max_examples=50)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low, span):
    scale = Scale(low, low + span, 0, 100)
    ticks = scale.ticks(5)
    slack = 1e-6 * (abs(low) + span)
    assert len(ticks) <= 12 and all(low - slack <= tick <= low + span + slack for tick in ticks)
