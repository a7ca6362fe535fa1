"""The displayed tables against the measured figures."""

import html
import re

from course_lib import profiling, report
from course_lib.report import tables
from tests.report.models import mlp, sparse


def test_the_table_shows_every_figure_with_its_unit_and_how_it_is_known(split, timed):
    table = report.compare(mlp(), sparse(mlp()), on=split, names=["baseline", "90 % <sparse>"], progress=False)
    page = table._repr_html_()
    cells = [html.unescape(re.sub("<[^>]+>", " ", cell)).strip() for cell in re.findall("<t[dh].*?</t[dh]>", page)]
    assert any(cell.startswith("90 % <sparse>") for cell in cells)
    assert "<sparse>" not in page
    assert "<boot>" not in page
    shown = [" ".join(cell.split()) for cell in cells]
    for expected in ("12 ms p95 30 ms", "1.0× 2.0× over eager", "2.0× 4.0× over eager", "300 MB 50 MB model"):
        assert expected in shown
    assert any(re.fullmatch(r"\d+\.\d % ± \d+\.\d %", cell) for cell in shown)
    assert any(re.fullmatch(r"\d+\.\d % \d+\.\d to \d+\.\d %", cell) for cell in shown)
    assert any(re.fullmatch(r"[\d.]+ kB \d+\.\d× smaller", cell) for cell in shown)
    assert any(cell.split() == ["stored", "exact"] for cell in cells)
    assert any(cell.split() == ["accuracy", "measured"] for cell in cells)
    assert "points test, 60 examples" in page
    assert "ONNX Runtime, batch 1, 2 threads" in page
    assert str(profiling.machine()) in html.unescape(page)
    for variable in re.findall(r"var\(--jp[^()]*\)", page):
        assert "," in variable, f"{variable} has no fallback"


def test_the_text_table_has_straight_columns(split, timed):
    lines = repr(report.compare(mlp(), mlp(1), on=split, names=["baseline", "b"], progress=False)).splitlines()
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[0].split()[:3] == ["model", "stored", "accuracy"]
    assert [line.split()[0] for line in lines[2:6]] == ["baseline", "dense", "b", "dense"]
    assert lines[-1].startswith("points test, 60 examples · latency")


def test_text_tables_align_the_first_column_left_and_the_rest_right():
    shown = tables.text_table(["what", "n"], [["a", "1"], ["longer", "12,345"]])
    assert shown.splitlines() == ["what         n", "------  ------", "a            1", "longer  12,345"]
