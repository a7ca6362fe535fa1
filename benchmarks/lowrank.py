"""Low-rank factorization, measured: accuracy, stored bytes and speed of ResNet18 and MiniLM with factored layers.

python benchmarks/lowrank.py --quick         # re-measure the shipped factored file (≤ 3 minutes)
python benchmarks/lowrank.py                 # everything, on the shipped splits
python benchmarks/lowrank.py --only minilm
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import common
import lowrank_parts as parts
from build_assets import build_manifest
from common import Part, Row

from course_lib import assets, data, lowrank, models, report, storage, training

FILE = common.RESULTS / "lowrank.json"
SHIPPED = common.RESULTS / "resnet18_lowrank.safetensors"
NAMES = ["baseline", "low-rank, fp32 values", "low-rank, fp16 values"]


def tuned(target: str) -> Part:
    """The part that factors ResNet18 to one target size, fine-tunes it, and measures it."""

    def part(splits: data.Splits) -> Iterable[Row]:
        before = models.load("resnet18")
        model, row = parts.tuned_resnet18(target, common.read(FILE)["forms"]["rows"], splits)
        smaller = lowrank.parameters(before) / lowrank.parameters(model)
        after, baseline = (training.evaluate(one, splits.test) for one in (model, before))
        yield {**row, "smaller": smaller, **common.quality(after, baseline)}

    return part


def compare(splits: data.Splits) -> Iterable[Row]:
    """Write the shipped file, and compare it and the fp32 one with the baseline."""
    model, _ = parts.tuned_resnet18("3", common.read(FILE)["forms"]["rows"], splits)
    storage.save(model, SHIPPED, dtype="fp16")
    fp32 = storage.save(model, parts.RUNS / "resnet18_3_fp32.safetensors")
    before = models.load("resnet18")
    return common.rows_of(report.compare(before, fp32, SHIPPED, on=splits.test, names=NAMES, memory=False))


def speeds(splits: data.Splits) -> Iterable[Row]:
    """How fast ResNet18 is with the ranks of each target."""
    plans = {row["target"]: row["plan"] for row in common.read(FILE)["tuned"]["rows"]}
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
SHARED = dict.fromkeys(("tuned3", "tuned8"), ("tuned", "target"))


def card(results: dict[str, Any]) -> None:
    """The card of the shipped file, with the figures of the results file."""
    rows = []
    for row in results["compare"]["rows"]:
        counts = f"{row['stored_bytes']:,}", f"{row['parameters']:,}"
        rows.append([row["name"], *counts, f"{row['accuracy']:.2%}", common.retained(row)])
    shipped = common.find(results["tuned"], target="3")
    kinds = sorted({entry[0] for entry in shipped["plan"].values()})
    common.write_card(
        "resnet18_lowrank", rows=common.table_lines(rows), kinds=" and ".join(kinds), smaller=shipped["smaller"],
        epochs=len(shipped["validation"]), images=shipped["images"],
    )  # fmt: skip


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = common.parser(__doc__, parts=PARTS).parse_args()
    splits = data.load("fashion_mnist")
    if arguments.quick:
        stored = assets.results("lowrank")["compare"]["rows"]
        common.measure_shipped(__doc__, arguments, {NAMES[2]: "resnet18_lowrank"}, splits.test, stored)
        return
    results = common.run_parts(arguments, "lowrank", PARTS, splits, shared=SHARED)
    if {"compare", "tuned"} <= results.keys():
        card(results)
    build_manifest()


if __name__ == "__main__":
    main()
