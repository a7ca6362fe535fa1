"""Magnitude pruning, measured: accuracy, stored bytes and speed of ResNet18 and MiniLM at several sparsities.

    python benchmarks/pruning.py --quick                  # re-measure the shipped pruned files (≤ 3 minutes)
    python benchmarks/pruning.py --source DIR             # everything; DIR holds fashion-mnist/*.gz
    python benchmarks/pruning.py --only lottery --source DIR

Without --source the 20,000 shipped training images are used instead of all 58,000. Each part is merged into the results
file when it is done, and an interrupted training resumes from runs/pruning/. --json names another results file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pruning_parts as parts
from build_assets import build_manifest
from common import measure_shipped, merge, parser, read, retained, rows_of
from train_baselines import full_fashion_mnist

from course_lib import assets, data, models, report, storage
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "pruning.json"
SHIPPED = {name: RESULTS / f"resnet18_pruned_{name}.safetensors" for name in ("90", "95")}
LABELS = {name: f"{name} %, fp16 values" for name in SHIPPED}
Part = Callable[[data.Splits], Iterable[parts.Row]]


CARD = """# Pruned ResNet18 on Fashion-MNIST

`results/resnet18_pruned_90.safetensors` and `results/resnet18_pruned_95.safetensors`: the shipped `resnet18` with 90 %
and 95 % of its convolution and linear weights set to zero by magnitude, one threshold over all layers. Sparsity was
raised along the cubic schedule of Zhu and Gupta (2017) during {first} epochs of fine-tuning over the 58,000 training
images of the baseline, and {more} more to reach 95 %. Stored as bitmasks with fp16 values. Choices were made on the
validation split; the figures are of the test split, with the 95 % interval of the paired bootstrap.

| model | stored bytes | parameters that are not zero | test accuracy | retained |
|---|---|---|---|---|
{rows}

`results/pruning.json` holds all measurements of `benchmarks/pruning.py`, which makes these files and this card; machine
and threads stand beside each table in it. Licence: Apache-2.0. For teaching compression; limits as in `resnet18.md`.
"""


def compare(splits: data.Splits) -> Iterable[parts.Row]:
    """Write the shipped files, and compare them and the fp32 one with the baseline."""
    for name, file in SHIPPED.items():
        storage.save(parts.gradual_model(name, splits)[0], file, dtype="fp16")
    fp32 = parts.RUNS / "resnet18_90_fp32.safetensors"
    return rows_of(report.compare(
        models.load("resnet18"), fp32, SHIPPED["90"], SHIPPED["95"], on=splits.test,
        names=["baseline", "90 %, fp32 values", *LABELS.values()],
    ))  # fmt: skip


PARTS: dict[str, tuple[str, Part]] = {
    "90": ("fine_tuned", parts.fine_tuned("90")),
    "95": ("fine_tuned", parts.fine_tuned("95")),
    "cut_only": ("cut_only", parts.cut_only),
    "compare": ("compare", compare),
    "size_trap": ("size_trap", parts.size_trap),
    "csr": ("csr", parts.csr_break_even),
    "80": ("fine_tuned", parts.fine_tuned("80")),
    "98": ("fine_tuned", parts.fine_tuned("98")),
    "sensitivity": ("sensitivity", parts.sensitivity),
    "lottery": ("lottery", parts.lottery),
    "minilm": ("minilm", parts.minilm),
}


def run(part: str, splits: data.Splits, target: Path) -> None:
    """Measure one part, and merge its rows into the results file."""
    table, measure = PARTS[part]
    results = merge(target, table, measure(splits), key="sparsity" if table == "fine_tuned" else None)
    if {"cut_only", "fine_tuned"} <= results.keys():
        results["curves"] = curves(results["cut_only"]["rows"], results["fine_tuned"]["rows"])
        write_atomically(target, json.dumps(results, indent=1) + "\n")


def curves(cut: list[parts.Row], tuned: list[parts.Row]) -> dict[str, Any]:
    """Test accuracy over sparsity as the panel of lesson 03 draws it: threshold → curves."""

    def curve(name: str, rows: list[parts.Row]) -> dict[str, Any]:
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


def write_card(results: dict[str, Any]) -> None:
    """The card of the shipped files, with the figures of the results file."""
    lines = []
    for row in results["compare"]["rows"]:
        counts = f"{row['stored_bytes']:,} | {row['nonzeros']:,}"
        lines.append(f"| {row['name']} | {counts} | {row['accuracy']:.2%} | {retained(row)} |")
    recipes = {row["name"]: row for row in results["fine_tuned"]["rows"]}
    epochs = [recipes[name]["epochs"] for name in SHIPPED]
    text = CARD.format(rows="\n".join(lines), first=epochs[0], more=epochs[1])
    write_atomically(assets.FOLDER / "cards" / "resnet18_pruned.md", text)


def main() -> None:
    """Measure the parts that were asked for."""
    options = parser(__doc__, parts=PARTS)
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/, for all 58,000 training images")
    arguments = options.parse_args()
    if arguments.quick:
        files = {LABELS[name]: f"resnet18_pruned_{name}" for name in SHIPPED}
        stored = assets.results("pruning")["compare"]["rows"]
        test = data.load("fashion_mnist").test
        measure_shipped(__doc__, arguments, "resnet18", files, test, stored, size="sparsity")
        return
    splits = full_fashion_mnist(arguments.source) if arguments.source else data.load("fashion_mnist")
    target = arguments.json or FILE
    for part in arguments.only:
        run(part, splits, target)
    results = read(target)
    if target == FILE and {"compare", "fine_tuned"} <= results.keys():
        write_card(results)
    build_manifest()


if __name__ == "__main__":
    main()
