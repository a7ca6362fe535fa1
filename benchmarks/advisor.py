"""The advisor, measured: planted causes of slowness, planted faults of quantized models, and reviews of both models.

    python benchmarks/advisor.py --quick                # the small cases (≤ 3 minutes)
    python benchmarks/advisor.py --only speed           # 16 planted cases; on an otherwise idle machine
    python benchmarks/advisor.py --only faults reviews

Nothing here reads test: the advisor decides how models are made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import common
from advisor_faults import FAULTS, darker, planted
from advisor_speed_cases import CASES
from common import Part, Row

from course_lib import advisor, assets, data, models, storage

QUICK_FAULTS = 3


def speed(quick: bool) -> Iterator[Row]:
    """For each planted cause, the one that is found, and the seconds that finding it takes."""
    for name, case in CASES.items():
        if quick and not case.small:
            continue
        with tempfile.TemporaryDirectory() as folder:
            before, after, inputs = case.make(Path(folder))
            seconds, found = common.timed(advisor.why_not_faster, before, after, inputs, threads=case.threads)
        yield {
            "case": name, "planted": case.cause, "found": found.cause, "right": found.cause == case.cause,
            "speedup": found.speedup, "seconds": seconds,
        }  # fmt: skip


def faults(quick: bool) -> Iterator[Row]:
    """For each planted fault, the layer that is ranked first, and what the proposed wide layers regain."""
    splits = data.load("fashion_mnist")
    model = storage.load(assets.path("student_10")) if quick else models.load("resnet18")
    for name, fault in list(FAULTS.items())[: QUICK_FAULTS if quick else None]:
        compressed, layer = planted(model, splits.train.subset(256), fault)
        wrong = darker(splits.validation) if fault.plant is None else None
        seconds, found = common.timed(advisor.locate, model, compressed, splits.validation, compressed_data=wrong)
        yield {
            "fault": name, "layer": layer, "first": found.first, "right": found.first == layer, "seconds": seconds,
            "damage": found.total_damage, "regained": found.proposal.regained,
            "more_bytes": found.proposal.more_bytes, "wide": str(found.proposal.forms),
        }  # fmt: skip


def reviews(quick: bool) -> Iterator[Row]:
    """The review of each model, and the seconds that it takes."""
    domains = {name: splits.validation for name, splits in common.sentiment().items() if name != "movies"}
    cases = {"resnet18": (data.load("fashion_mnist"), {}), "minilm": (common.sentiment()["movies"], domains)}
    for name, (splits, others) in cases.items():
        if quick and name != "resnet18":
            continue
        model = storage.load(assets.path("student_10")) if quick else models.load(name)
        seconds, review = common.timed(advisor.review, model, splits, domains=others)
        print(f"\n{name}\n{review}")
        yield {"model": name, "seconds": seconds, "fired": [one.rule for one in review.fired], **review.to_dict()}


PARTS: dict[str, Part] = {"speed": speed, "faults": faults, "reviews": reviews}


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = common.parser(__doc__, "small networks only", parts=PARTS).parse_args()
    if arguments.quick:
        results = common.Results(__doc__, arguments)
        for part in arguments.only:
            results.table(part, PARTS[part](True))
        results.save()
        return
    common.run_parts(arguments, "advisor", PARTS, False)


if __name__ == "__main__":
    main()
