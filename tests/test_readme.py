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
PAGES = {page.name: page for page in BUILDER["generated"]()}
PARTS = {name: content for contents in BUILDER["generated"]().values() for name, content in contents.items()}
ROW = {
    "name": "90 %", "stored_bytes": 5_900_000, "ratio": 7.58, "accuracy": 0.9312, "retained": 0.996,
    "retained_low": 0.993, "retained_high": 0.999, "speedup": 1.02,
    "latency_ms": [{"runtime": "onnx", "batch": 1, "threads": 2, "p50": 4.26, "p95": 5.0, "runs": 30}],
}  # fmt: skip


def line_of(part, text):
    (line,) = [line for line in PARTS[part].splitlines() if text in line]
    return line


@pytest.mark.parametrize("name", PAGES)
def test_the_generated_parts_are_up_to_date(name):
    page = PAGES[name]
    assert BUILDER["build"](page) == page.read_text(encoding="utf-8"), "run: python benchmarks/build_readme.py"


@pytest.mark.parametrize("part", BUILDER["COMPARISONS"])
def test_a_results_table_shows_the_figures_of_the_shipped_run(part):
    file, key, _ = BUILDER["COMPARISONS"][part]
    results = BUILDER["shipped"](file)[key]
    assert len(results["rows"]) >= 3
    for row in results["rows"]:
        assert f"{100 * row['accuracy']:.1f} %" in line_of(part, f"| {row['name']} |")
    assert results["machine"] in PARTS[part]


@pytest.mark.parametrize(
    ("part", "file", "key", "column"),
    [
        ("few-bits", "quantization_llm", "minilm", "movies"),
        ("quantization-aware", "quantization_qat", "models", "accuracy"),
    ],
)
def test_a_table_of_few_bits_shows_every_row(part, file, key, column):
    rows = BUILDER["shipped"](file)[key]["rows"]
    assert PARTS[part].count("\n| ") == len(rows) + 1
    assert all(f"| {100 * row[column]:.1f} % |" in PARTS[part] for row in rows)


def test_the_overview_has_a_row_for_every_technique_with_its_shipped_figures():
    assert PARTS["overview"] in README.partition("## Start")[0]
    assert PARTS["overview"].count("](notebooks/") == len(BUILDER["OVERVIEW"]) == 9
    pruned = BUILDER["find"](BUILDER["shipped"]("pruning")["compare"], name="95 %, fp16 values")
    line = line_of("overview", "Magnitude pruning")
    for figure in (f"{pruned['stored_bytes'] / 1e6:.2f} MB", f"{pruned['ratio']:.1f}×", f"{pruned['speedup']:.1f}×"):
        assert f"| {figure} |" in line
    assert f"| {100 * pruned['retained']:.1f} % ({100 * pruned['retained_low']:.1f}–" in line


def test_the_overview_names_the_size_of_its_students():
    vision, bert = BUILDER["shipped"]("distillation_vision"), BUILDER["shipped"]("distillation_bert")
    sizes = [
        {row["name"]: row["parameters"] for row in table["rows"]} for table in (vision["models"], bert["accuracy"])
    ]
    assert f"1/{sizes[0]['resnet18'] / sizes[0]['100']:.0f} of" in line_of("overview", "Knowledge distillation")
    assert f"1/{sizes[1]['teacher'] // sizes[1]['tenth']} of" in line_of("overview", "Distilling BERT")


def test_a_row_is_written_with_units_and_interval():
    table = BUILDER["comparison"]({"machine": "A CPU, 2 cores", "rows": [ROW]}, "ResNet18")
    assert table.startswith("| ResNet18 | file |")
    assert "| 90 % | 5.90 MB | 7.6× | 93.1 % | 99.6 % (99.3–99.9) | 4.26 ms | 1.0× |" in table
    assert table.endswith("Machine: A CPU, 2 cores.")


def test_a_missing_marker_is_an_error():
    with pytest.raises(ValueError, match="markers of 'x' exactly once, found 0"):
        BUILDER["fill"]("no markers", "x", "content")


@pytest.mark.parametrize("name", PAGES)
def test_every_linked_file_exists(name):
    page = PAGES[name]
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert name != "README.md" or {"docs/panel.png", "docs/results.md"} <= set(targets)
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_room_of_the_package_is_in_the_layout():
    rooms = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    present = [path.parent.name for path in (ROOT / "course_lib").glob("*/__init__.py")]
    assert sorted(rooms) == sorted(present)


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
