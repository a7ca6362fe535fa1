"""Distillation of ResNet18, measured: small students with and without their teacher.

    python benchmarks/distillation_vision.py --quick              # re-measure the shipped students (≤ 3 minutes)
    python benchmarks/distillation_vision.py --source DIR         # everything; DIR holds fashion-mnist/*.gz
    python benchmarks/distillation_vision.py --source DIR --next  # at most 5 minutes of the next training
    python benchmarks/distillation_vision.py --source DIR --only grid

Without --source the 20,000 shipped training images are used instead of all 58,000. Each part is merged into the results
file when it is done; students are kept in runs/distillation/, where an interrupted training resumes. --json names
another results file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import distillation_vision_parts as parts
import distillation_vision_tables as tables
from build_assets import build_manifest
from common import measure_shipped, merge, parser, retained, rows_of
from train_baselines import full_fashion_mnist

from course_lib import assets, data, models, report, storage
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "distillation_vision.json"
SESSION_SECONDS = 300.0
SHIPPED = {key: f"student_{key}" for key in parts.STUDENTS}

CARD = """# Small students of ResNet18, on Fashion-MNIST

`results/student_10.safetensors`, `results/student_100.safetensors` and `results/student_400.safetensors`: residual nets
with a tenth, a hundredth and a four-hundredth of the parameters of the shipped `resnet18`. They look at the pictures in
their original size of 28×28 (they take the doubled ones and average them down first). Each was trained from random
weights on all 58,000 training images, flipped and moved by up to a pixel, for {epochs} passes in the order of size, on
the labels and on the answers of `resnet18`: the smaller ones on its answers to the pictures as they are stored (share
{alpha:g}, temperature {temperature:g}), the largest on those to the very version that it is shown (share
{consistent_alpha:g}, temperature {consistent_temperature:g}). The files hold the students of seed 0, as fp16. Choices
were made on the validation split, that of the augmentation for both ways of training; the figures are of the test
split, means over the seeds. *Alone* is the same student trained as long on the labels only. Intervals: 95 %, paired
bootstrap of pictures and seeds (`students` and `gains` in the results).

The largest student had been measured on test before: with wider and slower layers, and with its present ones after 10
passes, where the teacher added 0.18 points (answers to stored pictures, six seeds) or 0.23 points (this recipe, three
seeds). The intervals of that time counted a picture once for each seed and were too narrow; then the training was made
longer, taught and alone, and `unlabelled` was added: the same student where only 6,000 of the pictures have a label.

| student | parameters | stored bytes | speed-up | seeds | taught | retained | alone | gain in points |
|---|---|---|---|---|---|---|---|---|
{rows}

Speed-up: median on ONNX Runtime, batch 1, 2 threads. `results/distillation_vision.json` holds all measurements of
`benchmarks/distillation_vision.py`, which makes these files and this card. Licence: Apache-2.0. For teaching
compression; limits as in `resnet18.md`.
"""

Part = Callable[[data.Splits], Iterable[tables.Row]]
PARTS: dict[str, Part] = {
    "students": tables.students,
    "gains": tables.gains,
    "few": tables.few,
    "unlabelled": tables.unlabelled,
    "grid": tables.grid,
    "gap": tables.gap,
}


def models_table(splits: data.Splits) -> list[tables.Row]:
    """The shipped files beside ResNet18: bytes, accuracy and speed of each."""
    for key, name in SHIPPED.items():
        target = RESULTS / f"{name}.safetensors"
        if not target.exists():
            storage.save(storage.load(parts.taught(key).file), target, dtype="fp16")
    files = [RESULTS / f"{name}.safetensors" for name in SHIPPED.values()]
    table = report.compare(
        models.load("resnet18"), *files, on=splits.test, names=["resnet18", *SHIPPED], memory=False,
        settings=((1, 2), (32, 2), (1, 1)), runs=90,
    )  # fmt: skip
    return [row | {"eager_speedup": row["speedup_over_eager"]} for row in rows_of(table)]


def write_card(results: dict[str, Any]) -> None:
    """The card of the shipped students, from what was measured."""
    lines = []
    for key in parts.STUDENTS:
        taught, alone = (row for row in results["students"]["rows"] if row["student"] == key)
        gain = next(row for row in results["gains"]["rows"] if row["student"] == key)
        file = next(row for row in results["models"]["rows"] if row["name"] == key)
        lines.append(
            f"| ÷ {key} | {taught['parameters']:,} | {file['stored_bytes']:,} | {file['speedup']:.1f}× "
            f"| {len(taught['seeds'])} | {taught['accuracy']:.2%} | {retained(taught)} | {alone['accuracy']:.2%} "
            f"| {gain['points']:+.2f} ({gain['points_low']:+.2f} to {gain['points_high']:+.2f}) |"
        )
    consistent, stored = parts.taught("10"), parts.taught("100")
    text = CARD.format(
        rows="\n".join(lines), epochs=", ".join(map(str, parts.EPOCHS.values())), alpha=stored.alpha,
        temperature=stored.temperature, consistent_alpha=consistent.alpha,
        consistent_temperature=consistent.temperature,
    )  # fmt: skip
    write_atomically(assets.FOLDER / "cards" / "students.md", text)


def main() -> None:
    """Measure the parts that were asked for, or train."""
    options = parser(__doc__, parts=[*PARTS, "models"])
    options.add_argument("--next", action="store_true", help="train for 5 minutes at most")
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/, for all 58,000 images")
    arguments = options.parse_args()
    if arguments.quick:
        stored = assets.results("distillation_vision")["models"]["rows"]
        measure_shipped(__doc__, arguments, "resnet18", SHIPPED, data.load("fashion_mnist").test, stored)
        return
    splits = full_fashion_mnist(arguments.source) if arguments.source else data.load("fashion_mnist")
    if arguments.next:
        sys.exit(0 if parts.train_next(splits, SESSION_SECONDS) else 3)
    target = arguments.json or FILE
    results: dict[str, Any] = {}
    for part in arguments.only:
        results = merge(target, part, PARTS[part](splits) if part in PARTS else models_table(splits))
    if target == FILE and {*PARTS, "models"} <= set(results):
        write_card(results)
    build_manifest()


if __name__ == "__main__":
    main()
