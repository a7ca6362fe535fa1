"""AdaRound, quantization-aware training (QAT) and mixed precision on ResNet18: accuracy and stored bytes by bit width.

    python benchmarks/quantization_qat.py --quick             # re-measure the shipped quantized files (≤ 3 minutes)
    python benchmarks/quantization_qat.py                     # everything
    python benchmarks/quantization_qat.py --only W2A4 mixed

All parts use the 20,000 shipped training images. Part ``choices`` compares hyper-parameters on validation; it was not
run for the shipped rows, whose learning rate comes from one short run. Test is read for the reported rows only. Each
part is merged into the results file when it is done; models and checkpoints are kept in runs/quantization_qat/.
--json names another results file.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import quantization_qat_parts as parts
from build_assets import build_manifest
from common import Results, merge, parser, read

from course_lib import assets, data, models, report
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "quantization_qat.json"
SHIPPED = {name: RESULTS / f"resnet18_{name.lower()}.safetensors" for name in ("W4A4", "W2A4")}
QUICK_RUNS = 5

CARD = """# Quantized ResNet18 on Fashion-MNIST

The shipped `resnet18` after quantization-aware training with learned step sizes (Esser et al., LSQ, 2020). WxAy means
weights of x bits with one scale for each output channel, and inputs of each layer of y bits; the first and the last
layer have 8 bits for both. Fine-tuned on a part of the 20,000 shipped training images against the answers of the
shipped `resnet18`; BatchNorm was frozen half-way. The learning rate comes from one short run judged on the validation
split; nothing else was searched, and the number of images is what time allowed. The figures are of the test split,
with the 95 % interval of the paired bootstrap.

| model | file | stored bytes | images | test accuracy | retained |
|---|---|---|---|---|---|
{rows}

The input grids are part of the files: a loaded file rounds weights and inputs as they were trained, in floating point.
`results/quantization_qat.json` holds all measurements of `benchmarks/quantization_qat.py`, which makes these files and
this card. Licence: Apache-2.0. For teaching compression; limits as in `resnet18.md`.
"""

PARTS: dict[str, tuple[str, parts.Part]] = {
    "adaround4": ("models", parts.adaround(4)),
    "W4A4": ("models", parts.train("W4A4")),
    "W2A4": ("models", parts.train("W2A4")),
    "rtn4": ("models", parts.round_to_nearest(4)),
    "choices": ("choices", parts.choices),
    "W8A8": ("models", parts.train("W8A8")),
    "rtn8": ("models", parts.round_to_nearest(8)),
    "rtn3": ("models", parts.round_to_nearest(3)),
    "rtn2": ("models", parts.round_to_nearest(2)),
    "adaround3": ("models", parts.adaround(3)),
    "adaround2": ("models", parts.adaround(2)),
    "adaroundW2A4": ("models", parts.adaround(2, 4)),
    "W3A4": ("models", parts.train("W3A4")),
    "sensitivity": ("sensitivity", parts.sensitivity),
    "mixed": ("mixed", parts.mixed),
}


def quick(arguments: argparse.Namespace) -> None:
    """Measure the shipped files again, and print the stored measurements as well."""
    results = Results(__doc__, arguments, runs=QUICK_RUNS)
    names = [name for name in SHIPPED if f"resnet18_{name.lower()}" in assets.manifest()]
    table = report.compare(
        models.load("resnet18"), *(assets.path(f"resnet18_{name.lower()}") for name in names),
        on=data.load("fashion_mnist").test, names=["baseline", *names], latency=False, memory=False,
    )  # fmt: skip
    print(f"\n{table}")
    shown = ("name", "stored_bytes", "accuracy", "retained")
    results.table("now", [{key: row.to_dict()[key] for key in shown} for row in table.rows])
    stored = {row["name"]: row for row in assets.results("quantization_qat")["models"]["rows"]}
    results.table("when shipped", [{key: stored[f"QAT {name}"][key] for key in shown} for name in names])
    results.save()


def run(part: str, splits: data.Splits, target: Path) -> None:
    """Measure one part, and merge its rows into the results file."""
    table, measure = PARTS[part]
    rows = list(measure(splits))
    if table == "models":
        known = {row["name"]: row for row in read(target).get(table, {}).get("rows", [])}
        rows = list((known | {row["name"]: row for row in rows}).values())
    merge(target, table, rows)


def ship(results: dict[str, Any]) -> None:
    """Copy the trained files into the package, and write their card with the figures of the results file."""
    rows = {row["name"]: row for row in results["models"]["rows"]}
    lines = []
    for name, file in SHIPPED.items():
        if f"QAT {name}" not in rows:
            continue
        if (made := parts.RUNS / f"QAT {name}.safetensors").exists():
            shutil.copyfile(made, file)
        row = rows[f"QAT {name}"]
        retained = f"{row['retained']:.1%} ({row['retained_low']:.1%} to {row['retained_high']:.1%})"
        facts = f"{row['stored_bytes']:,} | {row['images']:,} | {row['accuracy']:.2%} | {retained}"
        lines.append(f"| {name} | `results/{file.name}` | {facts} |")
    write_atomically(assets.FOLDER / "cards" / "resnet18_quantized.md", CARD.format(rows="\n".join(lines)))


def main() -> None:
    """Measure the parts that were asked for."""
    options = parser(__doc__, quick="measure the shipped files again", parts=PARTS)
    options.add_argument("--ship", action="store_true", help="copy the trained files into the package")
    arguments = options.parse_args()
    if arguments.quick:
        quick(arguments)
        return
    splits, target = data.load("fashion_mnist"), arguments.json or FILE
    for part in arguments.only:
        run(part, splits, target)
    if arguments.ship:
        ship(read(target))
        build_manifest()


if __name__ == "__main__":
    main()
