"""Every script in benchmarks/ can be asked to be quick and to write its results down."""

from __future__ import annotations

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
