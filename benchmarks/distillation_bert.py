"""Students of MiniLM, measured: accuracy by domain, parameters, bytes and speed of distilled BERTs.

    python benchmarks/distillation_bert.py --quick                # re-measure the shipped student (≤ 3 minutes)
    python benchmarks/distillation_bert.py --seconds 300          # train for 300 s; run again to continue
    python benchmarks/distillation_bert.py                        # measure what is trained

Only shipped sentences are read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import distillation_bert_parts as parts
import resuming
import torch
from build_assets import build_manifest
from common import Part, Row, sentiment
from torch import Tensor

from course_lib import assets, data, models, profiling, report, storage, training

SHIPPED = "minilm_student_tenth"
SHAPES = ("half", "middle", "tenth")


def trained() -> Iterator[tuple[str, dict[int, Path]]]:
    """Name and files of every student that is trained: seed → file."""
    for name in parts.CASES:
        files = {seed: parts.file_of(name, seed) for seed in parts.SEEDS}
        if any(file.exists() for file in files.values()):
            yield name, {seed: file for seed, file in files.items() if file.exists()}


def correct(label: str, model: Any) -> dict[str, Tensor]:
    """Domain → which of its test sentences a model classifies correctly; kept in runs/ beside the students."""
    return {
        domain: resuming.computed_once(
            parts.RUNS / f"{label}_{domain}.tensor", lambda s=splits: training.evaluate(model, s.test).correct
        )
        for domain, splits in sentiment().items()
    }


def accuracy() -> Iterator[Row]:
    """Every trained student on the test split of every domain, against the teacher on the same sentences."""
    teacher = parts.teacher()
    before = correct("teacher", teacher)
    yield row("teacher", teacher, before, {0: before})
    found: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name, files in trained():
        students = {seed: storage.load(file) for seed, file in files.items()}
        found[name] = {seed: correct(files[seed].stem, student) for seed, student in students.items()}
        validation = [training.evaluate(one, parts.movies().validation).accuracy for one in students.values()]
        yield row(name, next(iter(students.values())), before, found[name]) | {
            "epochs": parts.CASES[name].epochs, "validation": validation,
            "stored_bytes": storage.stored_bytes(next(iter(files.values()))),
        } | over_tenth(name, found)  # fmt: skip


def over_tenth(name: str, found: dict[str, dict[int, dict[str, Tensor]]]) -> Row:
    """Points gained over ``tenth`` by a student of its size on movie sentences, seed by seed; empty for other sizes."""
    if not name.startswith("tenth_"):
        return {}
    seeds = sorted(found[name].keys() & found["tenth"].keys())
    theirs, ours = (torch.stack([found[one][seed]["movies"] for seed in seeds]) for one in ("tenth", name))
    return common.points_gained(theirs, ours)


def row(name: str, model: Any, before: dict[str, Tensor], after: dict[int, dict[str, Tensor]]) -> Row:
    """Mean accuracy over the seeds, share of the teacher's, and its interval over sentences and seeds, by domain."""
    figures: Row = {"name": name, "seeds": list(after), "parameters": profiling.count_parameters(model)}
    figures["macs"] = profiling.count_macs(model, parts.movies().test.example(1))
    for domain, theirs in before.items():
        ours = torch.stack([by_domain[domain] for by_domain in after.values()])
        low, high = report.paired_bootstrap(theirs, ours)
        share = float(ours.double().mean())
        figures |= {
            domain: share, f"{domain}_retained": share / float(theirs.double().mean()), f"{domain}_low": low,
            f"{domain}_high": high, f"{domain}_seeds": ours.double().mean(dim=1).tolist(),
        }  # fmt: skip
    return figures


def speed() -> Iterator[Row]:
    """Latency of one student per shape, interleaved with the teacher; the threads are those of this process."""
    files = {name: next(iter(files.values())) for name, files in trained() if name in SHAPES}
    threads = min(2, torch.get_num_threads())
    table = report.compare(
        models.load("minilm"), *files.values(), names=["teacher", *files], on=parts.movies().validation.subset(64),
        memory=False, settings=((1, threads), (32, threads)), runs=90,
    )  # fmt: skip
    for one in table.rows:
        yield {
            "name": one.name, "threads": threads, "speedup": one.speedup or 1.0,
            "speedup_over_eager": one.speedup_over_eager, "latency_ms": one.to_dict()["latency_ms"],
        }  # fmt: skip


PARTS: dict[str, Part] = {"accuracy": accuracy, "speed": speed}


def ship(results: dict[str, Any]) -> None:
    """Copy the smallest student of the first seed into the package, and write its card."""
    shutil.copy(parts.file_of("tenth", parts.SEEDS[0]), common.RESULTS / f"{SHIPPED}.safetensors")
    teacher, student = (common.find(results["accuracy"], name=name) for name in ("teacher", "tenth"))
    rows = []
    for domain in data.SENTIMENT_DOMAINS:
        share, low, high = (f"{student[f'{domain}_{column}']:.1%}" for column in ("retained", "low", "high"))
        rows.append([domain, f"{student[domain]:.2%}", share, f"{low} to {high}"])
    common.write_card(
        SHIPPED, parameters=student["parameters"], teacher_parameters=teacher["parameters"],
        width=parts.TENTH["hidden_size"], rows=parts.ROWS, factor=parts.FACTOR, copies=parts.COPIES,
        temperature=parts.SOFT.temperature, alpha=parts.SOFT.alpha, lines=common.table_lines(rows),
    )  # fmt: skip


def main() -> None:
    """Measure the parts that were asked for, or train."""
    options = common.parser(__doc__, parts=PARTS)
    options.add_argument("--seconds", type=int, default=0, help="only train, for this long")
    arguments = options.parse_args()
    if arguments.quick:
        columns = ("name", "seeds", "parameters", "movies", "movies_retained")
        stored, test = assets.results("distillation_bert")["accuracy"]["rows"], parts.movies().test
        common.measure_shipped(__doc__, arguments, {SHIPPED: SHIPPED}, test, stored, baseline="minilm", columns=columns)
    elif arguments.seconds:
        with resuming.time_limit(arguments.seconds):
            for name in parts.CASES:
                for seed in parts.SEEDS:
                    parts.kept(name, seed)
    else:
        results = common.run_parts(arguments, "distillation_bert", PARTS)
        if results and "accuracy" in arguments.only:
            ship(results)
            build_manifest()


if __name__ == "__main__":
    main()
