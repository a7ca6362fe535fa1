"""Comparisons can grow, be drawn and be written; a single row displays itself as a comparison of one row."""

import json

from course_lib import report, training
from course_lib.report import tables
from tests.report.models import mlp, quick, sparse


def test_adding_a_model_evaluates_only_that_one_and_times_all(split, timed, monkeypatch):
    table = report.compare(mlp(), on=split, progress=False, runs=9)
    evaluated = []
    evaluate = training.evaluate
    monkeypatch.setattr(training, "evaluate", lambda model, on: evaluated.append(on) or evaluate(model, on))
    longer = table.add(mlp(1), mlp(2), names=["one", "two"], dtype="fp16")
    assert len(evaluated) == 2
    assert timed == [(1, report.SETTINGS, 9), (3, report.SETTINGS, 9)]
    assert [row.name for row in longer.rows] == ["before", "one", "two"]
    assert all(row.before is longer.rows[0] for row in longer.rows[1:])
    assert len(table.rows) == 1


def test_frame_and_json_hold_the_same_figures(split, timed, tmp_path):
    table = report.compare(mlp(), sparse(mlp()), on=split, names=["a", "b"], progress=False)
    content = json.loads(table.to_json(tmp_path / "deep" / "table.json"))
    assert json.loads((tmp_path / "deep" / "table.json").read_text()) == content
    assert content["examples"] == 60
    for line, row in zip(content["rows"], table.rows, strict=True):
        assert line["latency_ms"][0] == {
            "runtime": "onnx", "batch": 1, "threads": 2, "runs": 30, "p95": 30.0,
            "p50": row.latencies[report.HEADLINE].p50_ms,
        }  # fmt: skip
        for column in ("stored_bytes", "ratio", "macs", "accuracy", "retained_low", "speedup", "peak_memory_mb"):
            assert table.frame.loc[row.name, column] == line[column]
    assert "NaN" not in table.to_json()


def test_a_single_row_shows_itself(split, timed):
    row = report.measure(mlp(), on=split, name="mine", progress=False)
    assert isinstance(row, report.Row)
    assert str(row) == tables.text([row]) and "mine" in str(row)
    assert row._repr_html_() == tables.html([row], "") and "mine" in row._repr_html_()
    assert json.dumps(row.to_dict())


def test_the_picture_names_every_model(split):
    picture = quick(mlp(), sparse(mlp()), on=split, names=["baseline", "sparse"]).plot()
    assert {"baseline", "sparse"} <= {note.get_text() for note in picture.axes[0].texts}
