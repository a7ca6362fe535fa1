"""Magnitude pruning, measured: accuracy, stored bytes and speed of ResNet18 and MiniLM at several sparsities.

    python benchmarks/pruning.py --quick                  # re-measure the shipped pruned files (≤ 3 minutes)
    python benchmarks/pruning.py --source DIR             # everything; DIR holds fashion-mnist/*.gz
    python benchmarks/pruning.py --only lottery --source DIR

Without --source the 20,000 shipped training images are used instead of all 58,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import common
import pruning_parts as parts
from build_assets import build_manifest
from common import Part, Row
from train_baselines import fashion_mnist

from course_lib import assets, data, models, report, storage

SHIPPED = {name: common.RESULTS / f"resnet18_pruned_{name}.safetensors" for name in ("90", "95")}
LABELS = {name: f"{name} %, fp16 values" for name in SHIPPED}


def compare(splits: data.Splits) -> Iterable[Row]:
    """Write the shipped files, and compare them and the fp32 one with the baseline."""
    for name, file in SHIPPED.items():
        storage.save(parts.gradual_model(name, splits)[0], file, dtype="fp16")
    fp32 = parts.RUNS / "resnet18_90_fp32.safetensors"
    return common.rows_of(report.compare(
        models.load("resnet18"), fp32, *SHIPPED.values(), on=splits.test,
        names=["baseline", "90 %, fp32 values", *LABELS.values()],
    ))  # fmt: skip


PARTS: dict[str, Part] = {
    "90": parts.fine_tuned("90"),
    "95": parts.fine_tuned("95"),
    "cut_only": parts.cut_only,
    "compare": compare,
    "size_trap": parts.size_trap,
    "csr": parts.csr_break_even,
    "80": parts.fine_tuned("80"),
    "98": parts.fine_tuned("98"),
    "sensitivity": parts.sensitivity,
    "lottery": parts.lottery,
    "minilm": parts.minilm,
}


def curves(cut: list[Row], tuned: list[Row]) -> dict[str, Any]:
    """Test accuracy over sparsity as the panel of lesson 03 draws it: threshold → curves."""

    def curve(name: str, rows: list[Row]) -> dict[str, Any]:
        points = sorted({row["sparsity"]: row["accuracy"] for row in rows}.items())
        return {"name": name, "sparsity": [s for s, _ in points], "accuracy": [a for _, a in points]}

    dense = [row for row in cut if row["method"] == "none"]
    by_method = {name: dense + [row for row in cut if row["method"] == name] for name in ("global", "layerwise")}
    return {
        "model": "ResNet18",
        "accuracy": dense[0]["accuracy"],
        "curves": {
            "one for the whole model": [curve("cut only", by_method["global"]), curve("fine-tuned", dense + tuned)],
            "one per layer": [curve("cut only", by_method["layerwise"])],
        },
    }


def card(results: dict[str, Any]) -> None:
    """The card of the shipped files, with the figures of the results file."""
    rows = []
    for row in results["compare"]["rows"]:
        counts = f"{row['stored_bytes']:,}", f"{row['nonzeros']:,}"
        rows.append([row["name"], *counts, f"{row['accuracy']:.2%}", common.retained(row)])
    first, more = (common.find(results["fine_tuned"], name=name)["epochs"] for name in SHIPPED)
    common.write_card("resnet18_pruned", rows=common.table_lines(rows), first=first, more=more)


def main() -> None:
    """Measure the parts that were asked for."""
    options = common.parser(__doc__, parts=PARTS)
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/, for all 58,000 training images")
    arguments = options.parse_args()
    if arguments.quick:
        files = {LABELS[name]: f"resnet18_pruned_{name}" for name in SHIPPED}
        stored = assets.results("pruning")["compare"]["rows"]
        common.measure_shipped(__doc__, arguments, files, data.load("fashion_mnist").test, stored, size="sparsity")
        return
    results = common.run_parts(arguments, "pruning", PARTS, fashion_mnist(arguments.source), shared=parts.SHARED)
    if {"cut_only", "fine_tuned"} <= results.keys():
        results["curves"] = curves(results["cut_only"]["rows"], results["fine_tuned"]["rows"])
        common.write(common.RESULTS / "pruning.json", results)
    if {"compare", "fine_tuned"} <= results.keys():
        card(results)
    build_manifest()


if __name__ == "__main__":
    main()
