"""Fill the generated parts of README.md: the course map, and the table of the shipped results.

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
from course_lib.files import write_atomically
from course_lib.formats import byte_size
from course_lib.learning.course_map import LESSONS

README = Path(__file__).parents[1] / "README.md"
RESULTS = assets.FOLDER / "results" / "pruning.json"


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
    """The comparison of one run: a baseline and its pruned files, and where it was measured."""
    header = [model, "file", "smaller", "test accuracy", "retained (95 % interval)", "latency", "speed-up"]
    rows = [_result_row(row) for row in part["rows"]]
    note = f"Latency: median on ONNX Runtime, batch 1, 2 threads, against the same runtime. Machine: {part['machine']}."
    return f"{markdown(header, rows)}\n\n{note}"


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
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = fill(text, "results:pruning", results_table(results["compare"], "ResNet18, fashion images"))
    return fill(text, "results:pruning-minilm", results_table(results["minilm"], "MiniLM, movie sentences"))


def _result_row(row: dict[str, Any]) -> list[str]:
    latency = next((entry["p50"] for entry in row["latency_ms"]), None)
    low, high = row["retained_low"], row["retained_high"]
    is_baseline = row["ratio"] == 1 and row["retained"] == 1
    return [
        row["name"],
        byte_size(row["stored_bytes"]),
        f"{row['ratio']:.1f}×",
        f"{row['accuracy']:.1%}".replace("%", " %"),
        "–" if is_baseline else f"{100 * row['retained']:.1f} % ({100 * low:.1f}–{100 * high:.1f})",
        "–" if latency is None else f"{latency:.1f} ms",
        "–" if is_baseline or row["speedup"] is None else f"{row['speedup']:.1f}×",
    ]


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
