"""Structured pruning, measured: accuracy, bytes and speed of ResNet18 and MiniLM with fewer channels and heads.

    python benchmarks/structured.py --quick                # re-measure the shipped files (≤ 3 minutes)
    python benchmarks/structured.py                        # everything
    python benchmarks/structured.py --only points

Everything is trained on the 20,000 images that are shipped. The comparison with Torch-Pruning needs the extra [peers].
"""

from __future__ import annotations

import shutil
from typing import Any

import common
import structured_parts as parts
from build_assets import build_manifest
from common import Part
from structured_gradients import gradients

from course_lib import assets, data

SHIPPED = {"best_3.7": "resnet18_structured_4", "best_11": "resnet18_structured_11"}
PARTS: dict[str, Part] = {
    "points": parts.points,
    "curve": parts.curve,
    "criteria": parts.criteria,
    "gradients": gradients,
    "minilm": parts.minilm,
    "cost": parts.cost,
}


def ship(results: dict[str, Any]) -> None:
    """Copy the files of the best recipe, and write their card."""
    for name, shipped in SHIPPED.items():
        shutil.copy(parts.RUNS / f"{name}.safetensors", common.RESULTS / f"{shipped}.safetensors")
    rows = []
    for row in results["points"]["rows"]:
        counts = f"{row['stored_bytes']:,}", f"{row['macs']:,}", f"{row['accuracy']:.2%}"
        rows.append([row["name"], *counts, common.retained(row), f"{row['speedup'] or 1:.1f}×"])
    common.write_card(
        "resnet18_structured", rows=common.table_lines(rows), temperature=parts.TEMPERATURE, multiple=parts.MULTIPLE
    )


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = common.parser(__doc__, parts=PARTS).parse_args()
    splits = data.load("fashion_mnist")
    if arguments.quick:
        stored = [row for row in assets.results("structured")["points"]["rows"] if "best" in row["name"]]
        files = {name: name for name in SHIPPED.values()}
        common.measure_shipped(__doc__, arguments, files, splits.test, stored, size="macs")
        return
    results = common.run_parts(arguments, "structured", PARTS, splits)
    if results and "points" in arguments.only:
        ship(results)
    build_manifest()


if __name__ == "__main__":
    main()
