"""Stored outputs show their drawings in a front end that does not trust the notebook."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pandas
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_lib.learning.predict import reveal
from course_lib.notebook.clean_outputs import WIDGET_VIEW, clean_outputs
from course_lib.widgets import Panel, slider


def stored(html):
    cell = new_code_cell("panel", outputs=[new_output("display_data", {"text/html": html})])
    return clean_outputs(new_notebook(cells=[cell])).cells[0].outputs[0].data["text/html"]


def drawings(html):
    codes = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
    return [base64.b64decode(code).decode() for code in codes]


def test_a_drawing_is_stored_as_a_picture_with_its_words_and_colours():
    html = stored(reveal("tests.clean", 3.0)._repr_html_())
    (drawing,) = drawings(html)
    assert "<svg" not in html and "3.0" in re.search(r'<img alt="([^"]*)"', html)[1]
    root = ElementTree.fromstring(drawing)
    assert "course-panel" in root.get("class") and "--kept:#0072B2" in drawing
    assert ".course-learn" not in drawing and "body[" not in drawing


def test_every_drawing_of_a_panel_is_stored_and_its_text_is_kept():
    panel = Panel(lambda x: x, lambda x: 2 * f'<svg viewBox="0 0 10 {x:g}"><text>{x:g}</text></svg>', x=slider(5, 0, 9))
    html = stored(panel.static_html())
    assert len(drawings(html)) == 2 and "<dd>5</dd>" in html


def test_an_output_without_a_drawing_is_stored_as_it_is():
    html = pandas.DataFrame({"a": [1]})._repr_html_()
    assert stored(html) == html


def test_it_joins_printed_text_and_drops_warnings():
    def printed(text, name="stdout"):
        return new_output("stream", name=name, text=text)

    view = new_output("display_data", {WIDGET_VIEW: {}, "text/plain": "Bar()"})
    outputs = [printed("a\n"), printed("warning", "stderr"), printed("b\n"), view]
    notebook = new_notebook(cells=[new_code_cell("x", outputs=outputs, execution_count=7)])
    cell = clean_outputs(notebook).cells[0]
    assert [output.text for output in cell.outputs] == ["a\nb\n"]


def test_it_gives_cells_without_an_id_the_same_one_every_time():
    def without_ids():
        notebook = new_notebook(cells=[new_code_cell("x"), new_code_cell("x")])
        for cell in notebook.cells:
            del cell["id"]
        return [cell["id"] for cell in clean_outputs(notebook).cells]

    assert without_ids() == without_ids() and len(set(without_ids())) == 2
