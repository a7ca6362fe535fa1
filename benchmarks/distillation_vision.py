"""Distillation of ResNet18, measured: small students with and without their teacher.

    python benchmarks/distillation_vision.py --quick              # re-measure the shipped students (≤ 3 minutes)
    python benchmarks/distillation_vision.py --source DIR         # everything; DIR holds fashion-mnist/*.gz
    python benchmarks/distillation_vision.py --source DIR --next  # at most 5 minutes of the next training to be done
    python benchmarks/distillation_vision.py --source DIR --only grid

Without --source the 20,000 shipped training images are used instead of all 58,000. Each part is merged into the results
file when it is done; students are kept in runs/distillation/, where a training that was interrupted goes on. --json
names another results file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import distillation_vision_parts as parts
import distillation_vision_tables as tables
from build_assets import build_manifest
from common import Results, merge, parser
from train_baselines import full_fashion_mnist

from course_lib import assets, data, models, report, storage
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "distillation_vision.json"
PIECE_SECONDS = 300.0
QUICK_RUNS = 15
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
    print(table)
    rows = json.loads(table.to_json())["rows"]
    over_eager = [measured.speedup_over_eager for measured in table.rows]
    return [row | {"eager_speedup": faster} for row, faster in zip(rows, over_eager, strict=True)]


def write_card(results: dict[str, Any]) -> None:
    """The card of the shipped students, from what was measured."""
    lines = []
    for key in parts.STUDENTS:
        taught, alone = (row for row in results["students"]["rows"] if row["student"] == key)
        gain = next(row for row in results["gains"]["rows"] if row["student"] == key)
        file = next(row for row in results["models"]["rows"] if row["name"] == key)
        interval = f"{taught['retained']:.1%} ({taught['retained_low']:.1%} to {taught['retained_high']:.1%})"
        lines.append(
            f"| ÷ {key} | {taught['parameters']:,} | {file['stored_bytes']:,} | {file['speedup']:.1f}× "
            f"| {len(taught['seeds'])} | {taught['accuracy']:.2%} | {interval} | {alone['accuracy']:.2%} "
            f"| {gain['points']:+.2f} ({gain['points_low']:+.2f} to {gain['points_high']:+.2f}) |"
        )
    consistent, stored = parts.taught("10"), parts.taught("100")
    text = CARD.format(
        rows="\n".join(lines), epochs=", ".join(map(str, parts.EPOCHS.values())), alpha=stored.alpha,
        temperature=stored.temperature, consistent_alpha=consistent.alpha,
        consistent_temperature=consistent.temperature,
    )  # fmt: skip
    write_atomically(assets.FOLDER / "cards" / "students.md", text)


def quick(arguments: Any) -> None:
    """Measure the shipped students again, and set what was measured when they were made beside it."""
    results = Results(__doc__, arguments, runs=QUICK_RUNS)
    table = report.compare(
        models.load("resnet18"), *(assets.path(name) for name in SHIPPED.values()), on=data.load("fashion_mnist").test,
        names=["resnet18", *SHIPPED], runs=QUICK_RUNS, settings=((1, 2),), memory=False,
    )  # fmt: skip
    print(f"\n{table}")
    shown = ("name", "stored_bytes", "parameters", "accuracy", "retained", "speedup")
    results.table("now", [{key: row.to_dict()[key] for key in shown} for row in table.rows])
    rows = assets.results("distillation_vision")["models"]["rows"]
    results.table("when shipped", [{key: row[key] for key in shown} for row in rows])
    results.save()


def main() -> None:
    options = parser(__doc__, parts=[*PARTS, "models"])
    options.add_argument("--next", action="store_true", help="one piece of the next training")
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/, for all 58,000 images")
    arguments = options.parse_args()
    if arguments.quick:
        quick(arguments)
        return
    splits = full_fashion_mnist(arguments.source) if arguments.source else data.load("fashion_mnist")
    if arguments.next:
        sys.exit(0 if parts.train_next(splits, PIECE_SECONDS) else 3)
    target = arguments.json or FILE
    results: dict[str, Any] = {}
    for part in arguments.only:
        results = merge(target, part, PARTS[part](splits) if part in PARTS else models_table(splits))
    if target == FILE and {*PARTS, "models"} <= set(results):
        write_card(results)
    build_manifest()


if __name__ == "__main__":
    main()
