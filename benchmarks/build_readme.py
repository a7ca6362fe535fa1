"""Generate the tables of README.md and docs/results.md: the course map, and the shipped results.

    python benchmarks/build_readme.py
    python benchmarks/build_readme.py --quick    # report which parts are out of date, write nothing

A generated part stands between <!-- name --> and <!-- /name -->; without new results a second run changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
from common import Results, Row, find, parser

from course_lib.core.atomic_write import write_atomically
from course_lib.core.formatting import byte_size, duration
from course_lib.learning.course_map import LESSONS, lesson
from course_lib.report.tables import MISSING, percent, times

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "docs" / "results.md"
IMAGES, FILMS = "ResNet18, fashion images", "MiniLM, movie sentences"
OTHER_DOMAINS = ("amazon", "tweets")
RETAINED = "retained (95 % interval)"
# name of a part of docs/results.md → results file, table in it, what is measured
COMPARISONS = {
    "pruning": ("pruning", "compare", IMAGES),
    "pruning-minilm": ("pruning", "minilm", FILMS),
    "structured": ("structured", "points", IMAGES),
    "quantization": ("quantization", "resnet18", IMAGES),
    "quantization-minilm": ("quantization", "minilm", FILMS),
    "low-rank": ("lowrank", "compare", IMAGES),
    "low-rank-minilm": ("lowrank", "minilm", FILMS),
}
# lesson → model and setting, results file, table in it, the row to show
OVERVIEW = {
    "03": ("ResNet18, 95 % of the weights zero", "pruning", "compare", {"name": "95 %, fp16 values"}),
    "04": ("ResNet18, MACs ÷ 11", "structured", "points", {"name": "MACs ÷ 11, best recipe"}),
    "06": ("ResNet18, 8-bit weights and inputs", "quantization", "resnet18", {"name": "int8 ONNX, 8 bits"}),
    "07": ("ResNet18, 2-bit weights, 4-bit inputs", "quantization_qat", "models", {"name": "QAT W2A4"}),
    "08": ("MiniLM, 4-bit weights by GPTQ", "quantization_llm", "minilm", {"method": "gptq", "embedding_bits": 4}),
    "09": ("ResNet18, student of 1/115 of the parameters", "distillation_vision", "students", {"student": "100"}),
    "10": ("MiniLM, student of 1/12 of the parameters", "distillation_bert", "accuracy", {"name": "tenth"}),
    "11": ("ResNet18, ranks by sensitivity", "lowrank", "compare", {"name": "low-rank, fp16 values"}),
    "12": ("ResNet18, channels removed, entropy-coded", "coding", "points", {"point": "resnet18_structured_11 1"}),
}


def shipped(name: str) -> dict[str, Any]:
    """A results file as it is in this folder, whether or not the manifest lists it."""
    return common.read(common.RESULTS / f"{name}.json")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """A table with the first column left-aligned and the others right-aligned, and a note below it."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    table = common.table_lines([header, ruler, *rows])
    return f"{table}\n\n{note}" if note else table


def course_map() -> str:
    """Lessons with their minutes."""
    rows = [
        [
            f"{one.number} [{one.title}](notebooks/{one.file}): {one.idea}", f"{one.minutes} min",
            f"{one.exercise_minutes} min, {one.points} points" if one.exercise else MISSING,
        ]
        for one in LESSONS
    ]  # fmt: skip
    return markdown(["lesson", "reading and running", "exercise"], rows)


def overview() -> str:
    """One row per technique, against the fp32 file of the same model."""
    pruning = shipped("pruning")
    baselines = {"ResNet18": pruning["compare"]["rows"][0], "MiniLM": pruning["minilm"]["rows"][0]}
    rows = []
    for number, (setting, file, table, values) in OVERVIEW.items():
        row = _with_size_and_speed(shipped(file), find(shipped(file)[table], **values))
        entry, original = lesson(number), baselines[setting.split(",")[0]]
        rows.append([
            f"[{entry.title}](notebooks/{entry.file})", setting, byte_size(row["stored_bytes"]),
            times(original["stored_bytes"] / row["stored_bytes"]), _retained(row), times(row.get("speedup")),
        ])  # fmt: skip
    header = ["technique", "model and setting", "file", "smaller", RETAINED, "speed-up"]
    originals = "; ".join(
        f"{name} {byte_size(row['stored_bytes'])}, {percent(row['accuracy'])}" for name, row in baselines.items()
    )
    note = f"Baselines, file in fp32 and test accuracy: {originals}. {_clock(pruning['compare'])}"
    return markdown(header, rows, note)


def _with_size_and_speed(tables: dict[str, Any], row: Row) -> Row:
    """A row with its stored bytes and speed-up, which the distillation benchmarks keep in tables of their own."""
    if "student" in row:
        return find(tables["models"], name=row["student"]) | row
    if "speed" in tables:
        return row | {"speedup": find(tables["speed"], name=row["name"])["speedup"]}
    return row


def comparison(part: dict[str, Any], model: str) -> str:
    """One run of ``report.compare``: the baseline and its smaller files."""
    header = [model, "file", "smaller", "test accuracy", RETAINED, "latency", "speed-up"]
    rows = [
        [
            row["name"], byte_size(row["stored_bytes"]), times(row["ratio"]), percent(row["accuracy"]),
            _retained(row), duration(row["latency_ms"][0]["p50"]), times(row["speedup"]),
        ]
        for row in part["rows"]
    ]  # fmt: skip
    return markdown(header, rows, _clock(part))


def quantization_aware(part: dict[str, Any]) -> str:
    """ResNet18 with few bits, trained with fake quantization or rounded afterwards; it runs in floating point."""
    rows = [
        [row["name"], byte_size(row["stored_bytes"]), percent(row["accuracy"]), _retained(row)]
        for row in sorted(part["rows"], key=lambda row: -row["bits"])
    ]
    return markdown([IMAGES, "file", "test accuracy", RETAINED], rows)


def few_bits(part: dict[str, Any]) -> str:
    """MiniLM with few bits per weight against the fp16 file; no latency, because weights are unpacked to compute."""
    header = [FILMS, "file", "smaller", "test accuracy", RETAINED, *OTHER_DOMAINS]
    baseline, *quantized = part["rows"]
    names = ["fp16"] + [
        f"{row['bits']} bits, {row['method'].upper()}, embeddings {row['embedding_bits']} bits" for row in quantized
    ]
    rows = [
        [
            name, byte_size(row["stored_bytes"]), times(baseline["stored_bytes"] / row["stored_bytes"]),
            percent(row["movies"]), _retained(row),
            *(percent(row[f"{other}_retained"]) if f"{other}_low" in row else MISSING for other in OTHER_DOMAINS),
        ]
        for name, row in zip(names, part["rows"], strict=True)
    ]  # fmt: skip
    return markdown(header, rows, "Amazon and tweets: retained there; a dash where it was not measured.")


def image_students(tables: dict[str, Any]) -> str:
    """Students of ResNet18, means over their seeds, beside the same networks without a teacher."""
    header = [IMAGES, "seeds", "file", "test accuracy", RETAINED, "points over alone", "speed-up"]
    few_labels, rows = tables["unlabelled"]["rows"][0], []
    taught = [row for row in tables["students"]["rows"] if row["teacher"] != "none"]
    for row in (*taught, few_labels):
        row = find(tables["gains"], student=row["student"]) | row
        file = find(tables["models"], name=row["student"])
        name = f"parameters ÷ {find(tables['models'], name='resnet18')['parameters'] / row['parameters']:.0f}"
        rows.append([
            name + f", {row['labelled']:,} labels" * (row["labelled"] == few_labels["labelled"]),
            str(len(row["seeds"])), byte_size(file["stored_bytes"]), percent(row["accuracy"]), _retained(row),
            f"{row['points']:+.2f} ({row['points_low']:+.2f} to {row['points_high']:+.2f})", times(file["speedup"]),
        ])  # fmt: skip
    return markdown(header, rows, _clock(tables["models"]))


def sentence_students(tables: dict[str, Any]) -> str:
    """Students of MiniLM, means over their seeds, on every domain."""
    header = [FILMS, "seeds", "file", "test accuracy", RETAINED, *OTHER_DOMAINS, "speed-up"]
    teacher, rows = find(tables["accuracy"], name="teacher"), []
    for name, note in (("half", ""), ("tenth", ""), ("tenth_label_free", ", no labels")):
        row = find(tables["accuracy"], name=name)
        speed = find(tables["speed"], name=name.removesuffix("_label_free"))
        rows.append([
            f"parameters ÷ {teacher['parameters'] / row['parameters']:.1f}{note}", str(len(row["seeds"])),
            byte_size(row["stored_bytes"]), percent(row["movies"]), _retained(row),
            *(percent(row[f"{other}_retained"]) for other in OTHER_DOMAINS), times(speed["speedup"]),
        ])  # fmt: skip
    return markdown(header, rows, f"Amazon and tweets: retained there. {_clock(tables['speed'])}")


def coded_files(part: dict[str, Any]) -> str:
    """Entropy-coded files without training, beside the points of nncodec for which they were chosen on validation."""
    rows = [
        [
            row["model"], byte_size(row["nncodec_bytes"]), percent(row["nncodec_retained"], 2),
            byte_size(row["stored_bytes"]), _retained(row), f"{row['ratio']:.2f}×",
        ]
        for row in part["rows"]
    ]  # fmt: skip
    header = ["model", "nncodec 2.1.3", "retained", "file", RETAINED, "bytes"]
    return markdown(header, rows, "Retained: of the fp32 baseline, for MiniLM on the movies.")


def _clock(part: dict[str, Any]) -> str:
    clock = "Speed-up: median latency on ONNX Runtime, batch 1, 2 threads, against the baseline on the same runtime"
    return f"{clock}. Machine: {part['machine']}."


def _retained(row: Row) -> str:
    """Retained accuracy with its interval, of a baseline a dash; on the movies where a row has several domains."""
    names = ("movies_retained", "movies_low", "movies_high")
    if names[0] not in row:
        names = ("retained", "retained_low", "retained_high")
    value, low, high = (row.get(name, 1.0) for name in names)
    return MISSING if value == low == high else f"{percent(value)} ({100 * low:.1f}–{100 * high:.1f})"


def generated() -> dict[Path, dict[str, str]]:
    """Page → name of each generated part → its content."""
    comparisons = {name: comparison(shipped(file)[table], model) for name, (file, table, model) in COMPARISONS.items()}
    others = {
        "quantization-aware": quantization_aware(shipped("quantization_qat")["models"]),
        "few-bits": few_bits(shipped("quantization_llm")["minilm"]),
        "distillation": image_students(shipped("distillation_vision")),
        "distillation-minilm": sentence_students(shipped("distillation_bert")),
        "coding": coded_files(shipped("coding")["points"]),
    }
    return {README: {"overview": overview(), "course-map": course_map()}, RESULTS: comparisons | others}


def fill(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the markers of ``name``.

    Raises:
        ValueError: if the markers are not there exactly once.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    filled, count = pattern.subn(lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"the page needs the markers of {name!r} exactly once, found {count}")
    return filled


def build(page: Path) -> str:
    """The text of a page with every generated part replaced."""
    text = page.read_text(encoding="utf-8")
    for name, content in generated()[page].items():
        text = fill(text, name, content)
    return text


def main() -> None:
    """Write both pages, and print which parts were out of date."""
    options = parser(__doc__, quick="report which parts are out of date, write nothing").parse_args()
    results, rows = Results(__doc__, options), []
    for page, contents in generated().items():
        before, after = page.read_text(encoding="utf-8"), build(page)
        rows += [
            {"page": page.name, "part": name, "characters": len(content), "was up to date": f"\n{content}\n" in before}
            for name, content in contents.items()
        ]
        if not options.quick:
            write_atomically(page, after)
    results.table("parts", rows)
    results.save()


if __name__ == "__main__":
    main()
