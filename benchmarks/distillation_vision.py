"""Distillation of ResNet18, measured: small students with and without their teacher.

    python benchmarks/distillation_vision.py --quick                     # re-measure the shipped students (≤ 3 minutes)
    python benchmarks/distillation_vision.py --source DIR                # everything; DIR holds fashion-mnist/*.gz
    python benchmarks/distillation_vision.py --source DIR --seconds 300  # train for 300 s; run again to continue
    python benchmarks/distillation_vision.py --source DIR --only grid

Without --source the 20,000 shipped training images are used instead of all 58,000.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import common
import distillation_vision_parts as parts
import distillation_vision_tables as tables
import resuming
from build_assets import build_manifest
from common import Part, Row
from train_baselines import fashion_mnist

from course_lib import assets, data, models, report, storage

SHIPPED = {key: f"student_{key}" for key in parts.STUDENTS}


def models_table(splits: data.Splits) -> list[Row]:
    """The shipped files beside ResNet18: bytes, accuracy and speed of each."""
    files = {key: common.RESULTS / f"{name}.safetensors" for key, name in SHIPPED.items()}
    for key, file in files.items():
        resuming.made_once(file, partial(storage.load, parts.taught(key).file))
    table = report.compare(
        models.load("resnet18"), *files.values(), on=splits.test, names=["resnet18", *files], memory=False,
        settings=((1, 2), (32, 2), (1, 1)), runs=90,
    )  # fmt: skip
    return [row | {"eager_speedup": row["speedup_over_eager"]} for row in common.rows_of(table)]


PARTS: dict[str, Part] = {
    "students": tables.students,
    "gains": tables.gains,
    "few": tables.few,
    "unlabelled": tables.unlabelled,
    "grid": tables.grid,
    "gap": tables.gap,
    "models": models_table,
}


def card(results: dict[str, Any]) -> None:
    """The card of the shipped students, from what was measured."""
    rows = []
    for key in parts.STUDENTS:
        taught, alone = (common.find(results["students"], student=key, teacher=one) for one in ("resnet18", "none"))
        gain, file = common.find(results["gains"], student=key), common.find(results["models"], name=key)
        rows.append([
            f"÷ {key}", f"{taught['parameters']:,}", f"{file['stored_bytes']:,}", f"{file['speedup']:.1f}×",
            str(len(taught["seeds"])), f"{taught['accuracy']:.2%}", common.retained(taught), f"{alone['accuracy']:.2%}",
            f"{gain['points']:+.2f} ({gain['points_low']:+.2f} to {gain['points_high']:+.2f})",
        ])  # fmt: skip
    consistent, stored = parts.taught("10"), parts.taught("100")
    common.write_card(
        "students", rows=common.table_lines(rows), epochs=", ".join(map(str, parts.EPOCHS.values())),
        alpha=stored.alpha, temperature=stored.temperature, consistent_alpha=consistent.alpha,
        consistent_temperature=consistent.temperature,
    )  # fmt: skip


def main() -> None:
    """Measure the parts that were asked for, or train."""
    options = common.parser(__doc__, parts=PARTS)
    options.add_argument("--seconds", type=int, default=0, help="only train, for this long")
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/, for all 58,000 images")
    arguments = options.parse_args()
    splits = fashion_mnist(arguments.source)
    if arguments.quick:
        stored = assets.results("distillation_vision")["models"]["rows"]
        common.measure_shipped(__doc__, arguments, SHIPPED, splits.test, stored)
    elif arguments.seconds:
        with resuming.time_limit(arguments.seconds):
            for run in parts.PLAN:
                parts.trained(run, splits)
    else:
        results = common.run_parts(arguments, "distillation_vision", PARTS, splits)
        if PARTS.keys() <= results.keys():
            card(results)
        build_manifest()


if __name__ == "__main__":
    main()
