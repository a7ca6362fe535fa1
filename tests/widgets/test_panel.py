import re
import xml.etree.ElementTree as ElementTree

import pytest

from course_lib.widgets import Number, Panel, Verdict, choice, numbers_row, side_by_side, slider, table
from course_lib.widgets.panel import STRICT

VIEW = "application/vnd.jupyter.widget-view+json"


def square_panel(**options) -> Panel:
    def compute(side: int, unit: str) -> tuple[int, str]:
        if side == 7:
            raise ZeroDivisionError("seven is broken <b>")
        return side * side, unit

    return Panel(
        compute,
        lambda result: f'<svg viewBox="0 0 1 1"><title>{result[0]} {result[1]}</title></svg>',
        numbers=lambda result: [Number(f"{result[0]} {result[1]}", "area", "exact")],
        title="A square",
        side=slider(3, 1, 9),
        unit=choice("m²", "cm²", label="Unit"),
        **options,
    )


def test_every_control_moves_the_picture_at_once():
    panel = square_panel()
    assert panel.result == (9, "m²") and "9 m²" in panel.picture.value
    panel.controls["side"].value = 4
    assert panel.result == (16, "m²") and "16 m²" in panel.picture.value
    panel.controls["unit"].value = "cm²"
    assert "16 cm²" in panel.picture.value and "16 cm²" in panel.numbers.value


def test_a_control_without_a_label_is_named_after_its_argument():
    panel = square_panel()
    assert [control.label for control in panel.controls.values()] == ["Side", "Unit"]


def test_an_error_is_shown_in_the_panel_and_goes_away(monkeypatch):
    monkeypatch.delenv(STRICT, raising=False)
    panel = square_panel()
    panel.controls["side"].value = 7
    assert isinstance(panel.error, ZeroDivisionError)
    assert "ZeroDivisionError: seven is broken &lt;b&gt;" in panel.notice.value
    panel.controls["side"].value = 2
    assert panel.error is None and panel.notice.value == "" and panel.result == (4, "m²")


def test_an_error_is_raised_in_tests(monkeypatch):
    monkeypatch.setenv(STRICT, "1")
    panel = square_panel()
    with pytest.raises(ZeroDivisionError):
        panel.controls["side"].value = 7
    assert isinstance(panel.error, ZeroDivisionError)


def test_a_panel_that_cannot_start_fails_where_it_is_made(monkeypatch):
    monkeypatch.delenv(STRICT, raising=False)
    with pytest.raises(KeyError):
        Panel(lambda side: {}["missing"], str, side=slider(1, 0, 2))


def test_what_was_clamped_is_said_in_the_panel():
    panel = square_panel()
    panel.controls["side"].value = 40
    assert "Side cannot be 40; it is set to 9." in panel.notice.value
    panel.controls["side"].value = 5
    assert panel.notice.value == ""


def test_controls_that_do_not_matter_are_hidden():
    panel = square_panel(shown=lambda values: {"side"} if values["side"] > 5 else {"side", "unit"})
    assert panel.controls["unit"].layout.display is None
    panel.controls["side"].value = 6
    assert panel.controls["unit"].layout.display == "none"
    assert "Unit" not in panel.static_html()


def test_without_a_kernel_there_is_a_picture_and_a_text():
    panel = square_panel()
    bundle = panel._repr_mimebundle_()
    assert set(bundle) == {VIEW, "text/html", "text/plain"}
    assert "<svg" in bundle["text/html"] and "Run this cell" in bundle["text/html"]
    assert "<dt>Side</dt><dd>3</dd>" in bundle["text/html"]
    assert bundle["text/plain"] == "A square (Side: 3, Unit: m²)\n9 m² area (exact)"


def test_the_static_picture_is_the_same_every_time():
    assert square_panel().static_html() == square_panel().static_html()


def test_the_style_touches_nothing_but_panels():
    html = square_panel().static_html()
    rules = html[html.index("<style>") + 7 : html.index("</style>")]
    selectors = [rule.split("{")[0] for rule in re.sub(r"@container [^{]*\{", "", rules).split("}")]
    assert all(".course-panel" in part for rule in selectors if rule.strip() for part in rule.split(","))


def test_text_from_outside_is_escaped():
    row = numbers_row([Number("<1", "a & b", "measured")])
    assert "&lt;1" in row and "a &amp; b" in row
    cells = table(["<claim>"], [["<x>"], [Verdict("holds", "1 < 2")]])
    assert "<x>" not in cells and "holds: 1 &lt; 2" in cells


def test_numbers_and_verdicts_take_known_kinds_only():
    with pytest.raises(ValueError, match="tag must be one of"):
        Number("1", "one", "guessed")
    with pytest.raises(ValueError, match="kind must be one of"):
        Verdict("perhaps")


def test_a_table_of_claims_ends_in_words():
    html = table(["claim", "verdict"], [["10x", Verdict("does not hold", "zeros cost")]], caption="Claims")
    tree = ElementTree.fromstring(html)
    assert [cell.text for cell in tree.iter("td")] == ["10x", "does not hold: zeros cost"]
    assert tree.attrib["aria-label"] == "Claims"


def test_the_companion_stands_beside_the_main_picture():
    tree = ElementTree.fromstring(side_by_side("<svg/>", "<svg/>"))
    assert len(tree) == 2
