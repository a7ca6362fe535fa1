"""Structured pruning, measured: accuracy, bytes and speed of ResNet18 and MiniLM with fewer channels and heads.

    python benchmarks/structured.py --quick                # re-measure the shipped files (≤ 3 minutes)
    python benchmarks/structured.py                        # everything
    python benchmarks/structured.py --only points

Everything is trained on the 20,000 images that are shipped. Each part is merged into the results file when it is done;
models are kept in runs/structured/, where a training that was interrupted goes on. The comparison with Torch-Pruning
needs the extra [peers]. --json names another results file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from typing import Any

import structured_parts as parts
from build_assets import build_manifest
from common import Results, merge, parser, read
from gradient_parts import gradients

from course_lib import assets, data, models, report
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "structured.json"
SHIPPED = {"best_3.7": "resnet18_structured_4", "best_11": "resnet18_structured_11"}
QUICK_RUNS = 15
Part = Callable[[data.Splits], Iterable[parts.Row]]

CARD = """# ResNet18 with fewer channels, on Fashion-MNIST

`results/resnet18_structured_4.safetensors` and `results/resnet18_structured_11.safetensors`: the shipped `resnet18`
with its work (MACs) divided by 3.7 and by 11. Some blocks were taken out, then the channels with the smallest L2 norm,
late stages more than early ones, in multiples of {multiple}. Then the rest was trained on what the original answers
(soft targets at temperature {temperature:g}): the first network for one pass over the 20,000 shipped training images
and one over them and their mirror images; the second was cut out of the first and went over both twice. Plain
torchvision modules, stored with fp16 values. Choices were made on the validation split; the figures are of the test
split, with the 95 % interval of the paired bootstrap.

| model | stored bytes | MACs | test accuracy | retained | speed-up |
|---|---|---|---|---|---|
{rows}

Speed-up: median on ONNX Runtime, batch 1, 2 threads. `results/structured.json` holds all measurements of
`benchmarks/structured.py`, which makes these files and this card. Licence: Apache-2.0. For teaching compression; limits
as in `resnet18.md`.
"""

PARTS: dict[str, Part] = {
    "points": parts.points,
    "curve": parts.curve,
    "criteria": parts.criteria,
    "gradients": gradients,
    "minilm": parts.minilm,
    "cost": parts.cost,
}


def quick(arguments: Any) -> None:
    """Measure the files as they are shipped, and set what was measured when they were made beside it."""
    results = Results(__doc__, arguments, runs=QUICK_RUNS)
    table = report.compare(
        models.load("resnet18"), *(assets.path(name) for name in SHIPPED.values()), on=data.load("fashion_mnist").test,
        names=["baseline", *SHIPPED.values()], runs=QUICK_RUNS, settings=((1, 2),), memory=False,
    )  # fmt: skip
    print(f"\n{table}")
    shown = ("name", "stored_bytes", "macs", "accuracy", "retained", "speedup", "speedup_over_eager")
    results.table("now", [{key: row.to_dict()[key] for key in shown} for row in table.rows])
    rows = [row for row in assets.results("structured")["points"]["rows"] if "best" in row["name"]]
    results.table("when shipped", [{key: row[key] for key in shown} for row in rows])
    results.save()


def ship(results: dict[str, Any]) -> None:
    """Copy the files of the best recipe, and write their card."""
    for name, shipped in SHIPPED.items():
        shutil.copy(parts.RUNS / f"{name}.safetensors", RESULTS / f"{shipped}.safetensors")
    lines = []
    for row in results["points"]["rows"]:
        retained = f"{row['retained']:.1%} ({row['retained_low']:.1%} to {row['retained_high']:.1%})"
        lines.append(
            f"| {row['name']} | {row['stored_bytes']:,} | {row['macs']:,} | {row['accuracy']:.2%} | {retained} "
            f"| {row['speedup'] or 1:.1f}× |"
        )
    text = CARD.format(rows="\n".join(lines), criterion="L2", temperature=parts.TEMPERATURE, multiple=parts.MULTIPLE)
    write_atomically(assets.FOLDER / "cards" / "resnet18_structured.md", text)


def main() -> None:
    arguments = parser(__doc__, parts=PARTS).parse_args()
    if arguments.quick:
        quick(arguments)
        return
    splits = data.load("fashion_mnist")
    target = arguments.json or FILE
    for part in arguments.only:
        merge(target, part, PARTS[part](splits))
    if target == FILE and "points" in arguments.only:
        ship(read(target))
    build_manifest()


if __name__ == "__main__":
    main()
