"""The README says what the files say: results, course map, commands and the code for engineers."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from course_lib import data, launch, models, report
from course_lib.cli.app import app
from course_lib.data import FASHION_CLASSES, Split, Splits

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BUILDER = runpy.run_path(str(ROOT / "benchmarks" / "build_readme.py"))
ROW = {
    "name": "90 %", "stored_bytes": 5_900_000, "ratio": 7.58, "accuracy": 0.9312, "retained": 0.996,
    "retained_low": 0.993, "retained_high": 0.999, "speedup": 1.02,
    "latency_ms": [{"runtime": "onnx", "batch": 1, "threads": 2, "p50": 4.26, "p95": 5.0, "runs": 30}],
}  # fmt: skip


def test_the_generated_parts_are_up_to_date():
    assert BUILDER["build"](README) == README, "run: python benchmarks/build_readme.py"


@pytest.mark.parametrize("part", BUILDER["TABLES"])
def test_a_results_table_shows_the_figures_of_the_shipped_run(part):
    file, key, _ = BUILDER["TABLES"][part]
    results = BUILDER["shipped"](file)[key]
    text = BUILDER["parts"](README)[part]
    assert len(results["rows"]) >= 3
    for row in results["rows"]:
        line = next(line for line in text.splitlines() if line.startswith(f"| {row['name']} |"))
        assert f"{100 * row['accuracy']:.1f} %" in line
    assert results["machine"] in text


def test_the_table_of_few_bits_shows_every_row():
    text = BUILDER["parts"](README)[BUILDER["QUANTIZED"]]
    rows = BUILDER["shipped"]("quantization_llm")["minilm"]["rows"]
    assert text.count("\n| ") == len(rows) + 1
    assert all(f"| {100 * row['movies']:.1f} % |" in text for row in rows)


def test_a_row_is_written_with_units_and_interval():
    table = BUILDER["results_table"]({"machine": "A CPU, 2 cores", "rows": [ROW]}, "ResNet18")
    assert table.startswith("| ResNet18 | file |")
    assert "| 90 % | 5.90 MB | 7.6× | 93.1 % | 99.6 % (99.3–99.9) | 4.3 ms | 1.0× |" in table
    assert table.endswith("Machine: A CPU, 2 cores.")


def test_a_missing_marker_is_an_error():
    with pytest.raises(ValueError, match="markers of 'x' exactly once, found 0"):
        BUILDER["fill"]("no markers", "x", "content")


def test_every_linked_file_is_there():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert "docs/panel.png" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_command_is_one_that_exists():
    known = set(get_command(app).commands)
    named = set(re.findall(r"`(?:\.venv/bin/)?course ([\w-]+)", README))
    assert named and named <= known
    for line in re.findall(r"python3 start\.py ?([^`\n]*)", README):
        assert launch.parse(line.split())


def test_the_code_for_engineers_runs(tmp_path, monkeypatch, capsys):
    """As printed, with a small model and a few images in place of ResNet18 and Fashion-MNIST."""
    images = torch.randint(0, 256, (32, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    part = Split("fashion_mnist", "train", images, torch.arange(32) % 10, FASHION_CLASSES)
    splits = Splits(part, replace(part, name="validation"), replace(part, name="test"))
    small = {"builder": "mlp", "arguments": {"sizes": [2352, 8, 10]}}
    compare = report.compare
    monkeypatch.setattr(data, "load", lambda name: splits)
    monkeypatch.setattr(models, "load", lambda name: models.build(small))
    monkeypatch.setattr(report, "compare", lambda *rows, on: compare(*rows, on=on, latency=False))
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "0.0 MB" in shown and "retained" in shown
    assert (tmp_path / "pruned.safetensors").is_file()
