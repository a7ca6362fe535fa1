"""Entropy coding, measured: true file bytes at kept accuracy, against the reference software of the ISO standard.

    python benchmarks/coding.py --quick                       # measure the shipped coded files again (≤ 3 minutes)
    python benchmarks/coding.py                               # everything; resumes from runs/coding/
    python benchmarks/coding.py --only points --models student_400 student_100
    python benchmarks/coding.py --only cost                   # timed; on an otherwise idle machine

Everything is chosen on validation and on unlabelled training examples; test is read once for each chosen file. The
figures of nncodec 2.1.3 are not measured here: they stand in ``coding_parts.CASES`` as the task of this lesson gives
them (its settings: no training, the best of its own step sizes; test split).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import coding_lessons as lessons
import coding_parts as parts
import coding_trained as trained
import common
from build_assets import build_manifest
from common import Part, Row

from course_lib import assets


def points(cases: Iterable[parts.Case]) -> Iterator[Row]:
    """For each point of nncodec, the coded file that was chosen on validation, and its accuracy on test."""
    for case in cases:
        rows = parts.sweep(case)
        for number, point in enumerate(case.points):
            yield parts.on_test(case, parts.choose(case, rows, point), number)


def pareto(_: Any) -> Iterator[Row]:
    """For each point, the smallest of our files of that model that retains no less, whichever it was chosen for.

    The files are those of the tables ``points`` and ``first_look`` (chosen by the first rule, see the card). Retained
    shares are compared at the precision of the given ones, three digits.
    """
    results = common.read(common.RESULTS / "coding.json")
    rows = results["points"]["rows"]
    read = rows + results.get("first_look", {"rows": []})["rows"]
    for row in rows:
        least = row["nncodec_retained"]
        files = [one for one in read if one["model"] == row["model"] and round(one["retained"], 3) >= least]
        best = min(files, key=lambda one: one["stored_bytes"], default=None)
        yield {
            "point": row["point"], "nncodec_bytes": row["nncodec_bytes"], "nncodec_retained": least,
            "stored_bytes": best and best["stored_bytes"], "retained": best and best["retained"],
            "ratio": best and best["stored_bytes"] / row["nncodec_bytes"],
        }  # fmt: skip


def no_data(cases: Iterable[parts.Case]) -> Iterator[Row]:
    """The same points, with one grid per layer whose step follows from the variance of its weights."""
    for case in cases:
        rows = parts.sweep(case, "no data")
        for number, point in enumerate(case.points):
            yield parts.on_test(case, parts.choose(case, rows, point), number)


def sweeps(cases: Iterable[parts.Case]) -> Iterator[Row]:
    """All candidates: bytes, accuracy on validation, agreement with the original."""
    for case in cases:
        for method in parts.METHODS:
            yield from parts.sweep(case, method)


PARTS: dict[str, Part] = {
    "points": points, "pareto": pareto, "no_data": no_data, "sweeps": sweeps, "lossless": lessons.lossless,
    "layer": lessons.layer, "coders": lessons.coders, "deep_compression": trained.deep_compression,
    "deep_trained": trained.deep_trained, "trained": trained.structured, "cost": lessons.cost,
}  # fmt: skip
KEYS = {"points": "point", "no_data": "point", "sweeps": "file"}
"""Tables whose rows of other models are kept when only some are measured, and the column that tells rows apart."""


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean."""
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs))


def card(results: dict[str, Any]) -> None:
    """The card, with the figures of the results file."""
    rows = []
    for row in results["points"]["rows"]:
        sizes = f"{row['nncodec_bytes'] / 1e3:,.1f} kB", f"{row['stored_bytes'] / 1e3:,.1f} kB"
        shares = f"{row['nncodec_retained']:.2%}", common.retained(row)
        rows.append([row["model"], sizes[0], shares[0], sizes[1], shares[1], f"{row['ratio']:.2f}×"])
    mean = geometric_mean(row["ratio"] for row in results["points"]["rows"])
    reached = [row["ratio"] for row in results["pareto"]["rows"] if row["ratio"]]
    common.write_card(
        "coding", rows=common.table_lines(rows), mean=f"{mean:.2f}", calibration=parts.CALIBRATION,
        reached=len(reached), best=f"{geometric_mean(reached):.2f}",
    )  # fmt: skip


def main() -> None:
    """Measure the parts that were asked for."""
    options = common.parser(__doc__, parts=PARTS)
    options.add_argument("--models", nargs="+", choices=parts.CASES, default=list(parts.CASES), metavar="MODEL")
    arguments = options.parse_args()
    if arguments.quick:
        lessons.quick(__doc__, arguments, assets.results("coding")["points"]["rows"])
        return
    cases = [parts.CASES[name] for name in arguments.models]
    shared = {part: (part, key) for part, key in KEYS.items()}
    results = common.run_parts(arguments, "coding", PARTS, cases, shared=shared)
    if {"points", "pareto"} <= results.keys():
        card(results)
    build_manifest()


if __name__ == "__main__":
    main()
