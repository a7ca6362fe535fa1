"""Fill the generated parts of README.md: the course map, and the tables of the shipped results.

    python benchmarks/build_readme.py
    python benchmarks/build_readme.py --quick    # say which parts are out of date, write nothing

A part stands between <!-- name --> and <!-- /name -->; running this again without new results changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Results, parser

from course_lib import assets
from course_lib.core.atomic_write import write_atomically
from course_lib.core.formatting import byte_size
from course_lib.learning.course_map import LESSONS
from course_lib.report.tables import percent

README = Path(__file__).parents[1] / "README.md"
IMAGES, FILMS = "ResNet18, fashion images", "MiniLM, movie sentences"
TABLES = {
    "results:pruning": ("pruning", "compare", IMAGES),
    "results:pruning-minilm": ("pruning", "minilm", FILMS),
    "results:structured": ("structured", "points", IMAGES),
    "results:low-rank": ("lowrank", "compare", IMAGES),
    "results:low-rank-minilm": ("lowrank", "minilm", FILMS),
}
"""Name of a part of the README → results file, table in it, what is measured."""
QUANTIZED = "results:quantization-minilm"
TAUGHT_IMAGES, TAUGHT_FILMS = "results:distillation", "results:distillation-minilm"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with the first column to the left and the others to the right."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ruler, *rows))


def course_map() -> str:
    """Lessons with their minutes, as the course itself counts them."""
    rows = []
    for one in LESSONS:
        title = f"{one.number} [{one.title}](notebooks/{one.file}): {one.idea}"
        exercise = f"{one.exercise_minutes} min, {one.points} points" if one.exercise else "–"
        rows.append([title, f"{one.minutes} min", exercise])
    return markdown(["lesson", "reading and running", "exercise"], rows)


def results_table(part: dict[str, Any], model: str) -> str:
    """The comparison of one run: a baseline and its smaller files, and where it was measured."""
    header = [model, "file", "smaller", "test accuracy", "retained (95 % interval)", "latency", "speed-up"]
    rows = [_result_row(row) for row in part["rows"]]
    return f"{markdown(header, rows)}\n\n{_clock(part)}"


def quantized_table(part: dict[str, Any]) -> str:
    """MiniLM with few bits per weight, against the fp16 file; no latency, for the integers are unpacked to compute."""
    header = [FILMS, "file", "smaller", "test accuracy", "retained (95 % interval)", "amazon", "tweets"]
    whole = part["rows"][0]["stored_bytes"]
    rows = []
    for row in part["rows"]:
        is_baseline = row["group_size"] is None
        name = "fp16" if is_baseline else f"{row['bits']} bits, {row['method'].upper()}"
        name += f", embeddings {row['embedding_bits']} bits" if not is_baseline else ""
        rows.append([
            name, byte_size(row["stored_bytes"]), f"{whole / row['stored_bytes']:.1f}×", percent(row["movies"]),
            "–" if is_baseline else _interval(row["movies_retained"], row["movies_low"], row["movies_high"]),
            *(percent(row[f"{domain}_retained"]) if f"{domain}_low" in row else "–" for domain in ("amazon", "tweets")),
        ])  # fmt: skip
    return f"{markdown(header, rows)}\n\nAmazon and tweets: retained there; a dash where it was not measured."


def picture_students(parts: dict[str, Any]) -> str:
    """Students of ResNet18, means over their seeds, beside the same nets without a teacher."""
    header = [IMAGES, "seeds", "file", "test accuracy", "retained (95 % interval)", "points over alone", "speed-up"]
    gains = {row["student"]: row for row in parts["gains"]["rows"]}
    files = {row["name"]: row for row in parts["models"]["rows"]}
    taught = [row | gains[row["student"]] for row in parts["students"]["rows"] if row["teacher"] != "none"]
    few_labels = parts["unlabelled"]["rows"][0]
    rows = [
        [
            f"parameters ÷ {files['resnet18']['parameters'] / row['parameters']:.0f}"
            + f", {row['labelled']:,} labels" * (row is few_labels),
            str(len(row["seeds"])), byte_size(files[row["student"]]["stored_bytes"]), percent(row["accuracy"]),
            _interval(row["retained"], row["retained_low"], row["retained_high"]), _points(row),
            f"{files[row['student']]['speedup']:.1f}×",
        ]
        for row in (*taught, few_labels)
    ]  # fmt: skip
    return f"{markdown(header, rows)}\n\n{_clock(parts['models'])}"


def sentence_students(parts: dict[str, Any]) -> str:
    """Students of MiniLM, means over their seeds, on every domain."""
    header = [FILMS, "seeds", "file", "test accuracy", "retained (95 % interval)", "amazon", "tweets", "speed-up"]
    measured = {row["name"]: row for row in parts["accuracy"]["rows"]}
    speeds = {row["name"]: row["speedup"] for row in parts["speed"]["rows"]}
    rows = []
    for name, of_shape in (("half", "half"), ("tenth", "tenth"), ("tenth_label_free", "tenth")):
        row = measured[name]
        label = f"parameters ÷ {measured['teacher']['parameters'] / row['parameters']:.1f}"
        rows.append([
            label + ", no labels" * (name != of_shape), str(len(row["seeds"])), byte_size(row["stored_bytes"]),
            percent(row["movies"]), _interval(row["movies_retained"], row["movies_low"], row["movies_high"]),
            percent(row["amazon_retained"]), percent(row["tweets_retained"]), f"{speeds[of_shape]:.1f}×",
        ])  # fmt: skip
    return f"{markdown(header, rows)}\n\nAmazon and tweets: retained there. {_clock(parts['speed'])}"


def fill(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the markers of ``name``.

    Raises:
        ValueError: if the markers are not there exactly once.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    filled, count = pattern.subn(lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"README needs the markers of {name!r} exactly once, found {count}")
    return filled


def build(text: str) -> str:
    """The README with every generated part renewed."""
    text = fill(text, "course-map", course_map())
    for name, (file, table, model) in TABLES.items():
        text = fill(text, name, results_table(shipped(file)[table], model))
    text = fill(text, TAUGHT_IMAGES, picture_students(shipped("distillation_vision")))
    text = fill(text, TAUGHT_FILMS, sentence_students(shipped("distillation_bert")))
    return fill(text, QUANTIZED, quantized_table(shipped("quantization_llm")["minilm"]))


def shipped(name: str) -> dict[str, Any]:
    """A results file as it lies here, whatever the manifest says."""
    return json.loads((assets.FOLDER / "results" / f"{name}.json").read_text(encoding="utf-8"))


def _result_row(row: dict[str, Any]) -> list[str]:
    latency = next((entry["p50"] for entry in row["latency_ms"]), None)
    is_baseline = row["ratio"] == 1 and row["retained"] == 1
    return [
        row["name"],
        byte_size(row["stored_bytes"]),
        f"{row['ratio']:.1f}×",
        percent(row["accuracy"]),
        "–" if is_baseline else _interval(row["retained"], row["retained_low"], row["retained_high"]),
        "–" if latency is None else f"{latency:.{1 if latency >= 1 else 2}f} ms",
        "–" if is_baseline or row["speedup"] is None else f"{row['speedup']:.1f}×",
    ]


def _clock(part: dict[str, Any]) -> str:
    return f"Latency: median on ONNX Runtime, batch 1, 2 threads, against the same runtime. Machine: {part['machine']}."


def _points(row: dict[str, Any]) -> str:
    return f"{row['points']:+.2f} ({row['points_low']:+.2f} to {row['points_high']:+.2f})"


def _interval(value: float, low: float, high: float) -> str:
    return f"{percent(value)} ({100 * low:.1f}–{100 * high:.1f})"


def parts(text: str) -> dict[str, str]:
    """Name → content of every generated part of a README."""
    return {found[1]: found[2] for found in re.finditer(r"<!-- ([\w:-]+) -->\n(.*?)<!-- /\1 -->", text, re.DOTALL)}


def main() -> None:
    options = parser(__doc__, quick="say which parts are out of date, write nothing").parse_args()
    results = Results(__doc__, options)
    before = README.read_text(encoding="utf-8")
    after = build(before)
    if not options.quick:
        write_atomically(README, after)
    results.table("parts", [
        {"part": name, "characters": len(content), "was up to date": parts(before)[name] == content}
        for name, content in parts(after).items()
    ])  # fmt: skip
    results.save()


if __name__ == "__main__":
    main()
