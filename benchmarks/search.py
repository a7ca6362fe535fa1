"""Architecture search, measured: a supernet of ResNet18, what its subnets cost and reach, and what searching gains.

    python benchmarks/search.py --quick               # measure some shipped figures again (≤ 3 minutes)
    python benchmarks/search.py --source DIR          # everything; DIR holds fashion-mnist/*.gz; resumes from runs/
    python benchmarks/search.py --only latency cost   # timed; on an otherwise idle machine

The supernet is trained on 48,000 images. Subnets are compared on validation and on 3,000 of the other 10,000, which
only ResNet18 has seen; the figures of found nets are read once from test. Without --source, the shipped 20,000 images
are used and subnets are compared on validation.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import search_card
import search_outcomes as outcomes
import search_parts as parts
import torch
from build_assets import build_manifest
from common import Part, Row
from search_training import FOLDER, RECIPE, TRAINING_IMAGES, train_supernet
from train_baselines import fashion_mnist

from course_lib import coding, data, search, storage, training

STEP = 1 / 16
"""Of the uniform grids of the shipped weights, in standard deviations of a layer."""
COMPARED_IMAGES = 3000
SOURCE: list[Path | None] = [None]


def supernet(splits: data.Splits, _: Any) -> Iterator[Row]:
    """Train the supernet, store it, and measure its largest and smallest subnet on validation."""
    trained, history = train_supernet(SOURCE[0], FOLDER / "supernet.checkpoint")
    yield from store(trained, splits, history)


def store(trained: search.Supernet, splits: data.Splits, history: training.History) -> Iterator[Row]:
    """Write the shipped file: weights on uniform grids, arithmetic coding."""
    net = coding.quantize_uniform(trained.net, coding.variance_steps(trained.net, STEP))
    storage.save(net, parts.SUPERNET, coder="arithmetic", dtype="fp16")
    stored = parts.stored_supernet()
    for name, subnet in {"largest": stored.space.largest, "smallest": stored.space.smallest}.items():
        before, after = (
            training.evaluate(parts.calibrated(one, subnet, splits.train), splits.validation).accuracy
            for one in (trained, stored)
        )
        yield {
            "subnet": name, "validation": before, "validation_stored": after, "macs": search.macs(subnet),
            "parameters": search.parameters(subnet), "stored_bytes": parts.SUPERNET.stat().st_size,
            "epochs": len(history.train_loss), "train_loss": history.train_loss, "images": len(splits.train),
            "batch_size": RECIPE["batch_size"],
        }  # fmt: skip


PARTS: dict[str, Part] = {
    "supernet": supernet, "calibration": parts.calibration, "latency": parts.latency, "memory": parts.memory,
    "subnets": parts.subnets, "predictor": parts.predictor, "proxies": parts.proxies, "evolution": outcomes.evolution,
    "uniform": outcomes.uniform, "inherited": outcomes.inherited, "cost": outcomes.cost,
}  # fmt: skip


def splits_of(source: Path | None) -> tuple[data.Splits, data.Split]:
    """The splits, with the images that the supernet is trained on, and those on which subnets are compared."""
    whole = fashion_mnist(source)
    if source is None:
        return whole, whole.validation
    rows = torch.arange(len(whole.train))
    held_out = whole.train.take(rows[TRAINING_IMAGES:][:COMPARED_IMAGES])
    return replace(whole, train=whole.train.take(rows[:TRAINING_IMAGES])), held_out


def quick(arguments: Any) -> None:
    """Measure a few stored figures again: accuracy, latency, memory, and one search."""
    splits, results = data.load("fashion_mnist"), common.Results(__doc__, arguments)
    trained, generator = search.load_supernet(), random.Random(3)
    rows = common.read(common.RESULTS / "search.json")["subnets"]["rows"]
    found = []
    for row in generator.sample(rows, 5):
        subnet = search.RESNET18_SPACE.subnet(row["genes"])
        accuracy = training.evaluate(parts.calibrated(trained, subnet, splits.train), splits.validation).accuracy
        found.append(
            {
                "subnet": str(subnet),
                "validation": accuracy,
                "stored": row["validation_accuracy"],
                "ms": search.net_ms(subnet),
                "table_ms": row["latency_ms"],
            }
        )
    results.table("subnets", found)
    results.table("cost", list(outcomes.cost()))
    results.save()


def main() -> None:
    """Measure the parts that were asked for."""
    options = common.parser(__doc__, parts=PARTS)
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/")
    arguments = options.parse_args()
    if arguments.quick:
        quick(arguments)
        return
    SOURCE[0] = arguments.source
    results = common.run_parts(arguments, "search", PARTS, *splits_of(arguments.source))
    if "supernet" in results:
        search_card.write(results)
    build_manifest()


if __name__ == "__main__":
    main()
