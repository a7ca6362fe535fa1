"""Structured pruning, measured: accuracy, bytes and speed of ResNet18 and MiniLM with fewer channels and heads.

    python benchmarks/structured.py --quick                # re-measure the shipped files (≤ 3 minutes)
    python benchmarks/structured.py                        # everything
    python benchmarks/structured.py --only points

Everything is trained on the 20,000 images that are shipped. Each part is merged into the results file when it is done;
models are kept in runs/structured/, where an interrupted training resumes. The comparison with Torch-Pruning needs the
extra [peers]. --json names another results file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from typing import Any

import structured_parts as parts
from build_assets import build_manifest
from common import measure_shipped, merge, parser, read, retained
from structured_gradients import gradients

from course_lib import assets, data
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "structured.json"
SHIPPED = {"best_3.7": "resnet18_structured_4", "best_11": "resnet18_structured_11"}
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


def ship(results: dict[str, Any]) -> None:
    """Copy the files of the best recipe, and write their card."""
    for name, shipped in SHIPPED.items():
        shutil.copy(parts.RUNS / f"{name}.safetensors", RESULTS / f"{shipped}.safetensors")
    lines = []
    for row in results["points"]["rows"]:
        counts = f"{row['stored_bytes']:,} | {row['macs']:,} | {row['accuracy']:.2%}"
        lines.append(f"| {row['name']} | {counts} | {retained(row)} | {row['speedup'] or 1:.1f}× |")
    text = CARD.format(rows="\n".join(lines), temperature=parts.TEMPERATURE, multiple=parts.MULTIPLE)
    write_atomically(assets.FOLDER / "cards" / "resnet18_structured.md", text)


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = parser(__doc__, parts=PARTS).parse_args()
    if arguments.quick:
        stored = [row for row in assets.results("structured")["points"]["rows"] if "best" in row["name"]]
        files = {name: name for name in SHIPPED.values()}
        measure_shipped(__doc__, arguments, "resnet18", files, data.load("fashion_mnist").test, stored, size="macs")
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
