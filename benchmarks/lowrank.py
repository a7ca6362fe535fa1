"""Low-rank factorization, measured: accuracy, stored bytes and speed of ResNet18 and MiniLM with factored layers.

    python benchmarks/lowrank.py --quick         # re-measure the shipped factored file (≤ 3 minutes)
    python benchmarks/lowrank.py                 # everything, on the shipped splits
    python benchmarks/lowrank.py --only minilm

Each part is merged into the results file when it is done, and an interrupted training resumes from runs/lowrank/.
--json names another results file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lowrank_parts as parts
from build_assets import build_manifest
from common import measure_shipped, merge, parser, quality, read, retained, rows_of

from course_lib import assets, data, lowrank, models, report, storage, training
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "lowrank.json"
SHIPPED = RESULTS / "resnet18_lowrank.safetensors"
NAMES = ["baseline", "low-rank, fp32 values", "low-rank, fp16 values"]
Part = Callable[[data.Splits], Iterable[parts.Row]]

CARD = """# Factored ResNet18 on Fashion-MNIST

`results/resnet18_lowrank.safetensors`: the shipped `resnet18` with convolutions as products of thinner ones
({kinds}), {smaller:.2f} times fewer parameters: every one of them holds about 31 % of its numbers. Then {epochs} epoch
of fine-tuning over {images:,} of the shipped training images, with the answers of the original as targets beside the
labels. fp16 values. Choices were made on the validation split; the figures are of the test split, with the 95 %
interval of the paired bootstrap.

| model | stored bytes | parameters | test accuracy | retained |
|---|---|---|---|---|
{rows}

`results/lowrank.json` holds all measurements of `benchmarks/lowrank.py`, which makes this file and this card; machine
and threads stand beside each table in it. Licence: Apache-2.0. For teaching compression; limits as in `resnet18.md`.
"""


def tuned(target: str) -> Part:
    """The part that factors ResNet18 to one target size, fine-tunes it, and measures it."""

    def part(splits: data.Splits) -> Iterable[parts.Row]:
        before = models.load("resnet18")
        model, row = parts.tuned_resnet18(target, read(FILE)["forms"]["rows"], splits)
        smaller = lowrank.parameters(before) / lowrank.parameters(model)
        after, baseline = (training.evaluate(one, splits.test) for one in (model, before))
        yield {**row, "smaller": smaller, **quality(after, baseline)}

    return part


def compare(splits: data.Splits) -> Iterable[parts.Row]:
    """Write the shipped file, and compare it and the fp32 one with the baseline."""
    model, _ = parts.tuned_resnet18("3", read(FILE)["forms"]["rows"], splits)
    storage.save(model, SHIPPED, dtype="fp16")
    fp32 = storage.save(model, parts.RUNS / "resnet18_3_fp32.safetensors")
    before = models.load("resnet18")
    return rows_of(report.compare(before, fp32, SHIPPED, on=splits.test, names=NAMES, memory=False))


def speeds(splits: data.Splits) -> Iterable[parts.Row]:
    """How fast ResNet18 is with the ranks of each target."""
    plans = {row["target"]: row["plan"] for row in read(FILE)["tuned"]["rows"]}
    return parts.speeds(models.load("resnet18"), plans, splits.test.subset(64))


PARTS: dict[str, Part] = {
    "untrained": parts.untrained,
    "seconds": parts.seconds,
    "forms": parts.forms,
    "tuned3": tuned("3"),
    "tuned8": tuned("8"),
    "speeds": speeds,
    "compare": compare,
    "minilm": parts.minilm,
    "embedding": parts.embedding,
}


def run(part: str, splits: data.Splits, target: Path) -> None:
    """Measure one part, and merge its rows into the results file."""
    table = part.rstrip("38")
    merge(target, table, PARTS[part](splits), key="target" if table == "tuned" else None)


def write_card(results: dict[str, Any]) -> None:
    """The card of the shipped file, with the figures of the results file."""
    lines = []
    for row in results["compare"]["rows"][:3]:
        counts = f"{row['stored_bytes']:,} | {row['parameters']:,}"
        lines.append(f"| {row['name']} | {counts} | {row['accuracy']:.2%} | {retained(row)} |")
    shipped = next(row for row in results["tuned"]["rows"] if row["target"] == "3")
    kinds = sorted({entry[0] for entry in shipped["plan"].values()})
    text = CARD.format(
        rows="\n".join(lines), kinds=" and ".join(kinds), smaller=shipped["smaller"],
        epochs=len(shipped["validation"]), images=shipped["images"],
    )  # fmt: skip
    write_atomically(assets.FOLDER / "cards" / "resnet18_lowrank.md", text)


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = parser(__doc__, parts=PARTS).parse_args()
    if arguments.quick:
        stored = assets.results("lowrank")["compare"]["rows"]
        files = {NAMES[2]: "resnet18_lowrank"}
        measure_shipped(__doc__, arguments, "resnet18", files, data.load("fashion_mnist").test, stored)
        return
    parts.RUNS.mkdir(parents=True, exist_ok=True)
    target = arguments.json or FILE
    for part in arguments.only:
        run(part, data.load("fashion_mnist"), target)
    if target == FILE and {"compare", "tuned"} <= read(FILE).keys():
        write_card(read(FILE))
    build_manifest()


if __name__ == "__main__":
    main()
