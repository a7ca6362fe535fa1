"""Every script in benchmarks/ takes --quick and --json; results of parts are merged into one file."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(file for file in FOLDER.glob("*.py") if "__main__" in file.read_text(encoding="utf-8"))


def run(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [script.name, *map(str, arguments)])
    runpy.run_path(str(script), run_name="__main__")


def test_the_scripts_are_found():
    assert {"train_baselines", "pruning", "panels", "grading"} <= {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_takes_quick_and_json(monkeypatch, capsys, script):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, script, "--help")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--quick" in shown and "--json FILE" in shown


@pytest.mark.parametrize("name", ["build_assets", "build_readme"])
def test_a_quick_builder_compares_and_writes_nothing_but_its_results(monkeypatch, capsys, tmp_path, name):
    watched = [FOLDER.parent / "README.md", FOLDER.parent / "course_lib" / "assets" / "manifest.json"]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in watched]
    run(monkeypatch, FOLDER / f"{name}.py", "--quick", "--json", tmp_path / "results.json")
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in watched] == before
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    (rows,) = written["tables"].values()
    assert rows and written["quick"]
    assert all(value for row in rows for value in row.values())


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("common")


def test_only_takes_the_names_of_parts_and_all_of_them_by_default(common):
    parts = common.parser("What it measures", parts={"first": 1, "second": 2})
    assert parts.parse_args([]).only == ["first", "second"]
    assert parts.parse_args(["--only", "second"]).only == ["second"]
    with pytest.raises(SystemExit):
        parts.parse_args(["--only", "third"])
    with pytest.raises(SystemExit):
        common.parser("A benchmark without parts").parse_args(["--only", "first"])


def test_a_part_is_merged_beside_the_others_and_over_its_earlier_run(common, capsys, tmp_path):
    target = tmp_path / "results.json"
    assert common.read(target) == {}
    common.merge(target, "speed", [{"name": "dense", "ms": 4.0}])
    common.merge(target, "curves", [{"name": "dense", "points": [1, 2]}])
    results = common.merge(target, "speed", iter([{"name": "dense", "ms": 3.0}, {"name": "pruned", "ms": 2.0}]))
    assert results == common.read(target) and list(results) == ["speed", "curves"]
    assert results["speed"]["rows"] == [{"name": "dense", "ms": 3.0}, {"name": "pruned", "ms": 2.0}]
    assert results["curves"]["rows"] == [{"name": "dense", "points": [1, 2]}]
    assert {"machine", "threads"} < results["speed"].keys()
    printed = capsys.readouterr().out
    assert "pruned" in printed and "points" not in printed
