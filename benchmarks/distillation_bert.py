"""Students of MiniLM, measured: accuracy by domain, parameters, bytes and speed of distilled BERTs.

    python benchmarks/distillation_bert.py --quick                # re-measure the shipped student (≤ 3 minutes)
    python benchmarks/distillation_bert.py --seconds 300          # train for 300 s; run again to continue
    python benchmarks/distillation_bert.py                        # measure what is trained

Only shipped sentences are read. Trained students are kept in runs/distillation_bert/; each part is merged into the
results file when it is done. --json names another results file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distillation_bert_parts as parts
import torch
from build_assets import build_manifest
from common import measure_shipped, merge, parser, points_gained, sentiment
from safetensors.torch import load_file, save
from torch import Tensor

from course_lib import assets, data, models, profiling, report, storage, training
from course_lib.core.atomic_write import write_atomically

RESULTS = assets.FOLDER / "results"
FILE = RESULTS / "distillation_bert.json"
SHIPPED = "minilm_student_tenth"
SHAPES = ("half", "middle", "tenth")

CARD = """# A tenth of MiniLM

`results/{shipped}.safetensors`: a student of the shipped `minilm` with {parameters:,} parameters instead of
{teacher_parameters:,}, embedding included. Two layers of width {width}, started from layers of the teacher; the word
embedding is trimmed to {rows:,} rows of {factor} numbers. It learnt from the soft targets of the teacher (temperature
{temperature:g}, weight {alpha:g}) on the train sentences of `movies`, with their labels, on those of `amazon` and
`tweets`, whose labels stayed unseen, and on {copies} rewritten versions of each of them. Values are stored in fp16. No
choice was made on the test split.

| test split | accuracy | retained | 95 % interval (paired bootstrap) |
|---|---|---|---|
{lines}

`results/distillation_bert.json` holds all measurements of `benchmarks/distillation_bert.py`, which makes this file and
this card. Licence: Apache-2.0. For teaching compression; limits as in `minilm.md`.
"""


def trained() -> Iterator[tuple[str, list[Path]]]:
    """Name and files of every student that is trained, one file per seed."""
    for name in parts.CASES:
        files = [parts.RUNS / f"{name}_{seed}.safetensors" for seed in parts.SEEDS]
        if any(file.exists() for file in files):
            yield name, [file for file in files if file.exists()]


def correct(label: str, model: Any) -> dict[str, Tensor]:
    """Domain → which of its test sentences a model classifies correctly; kept in runs/ beside the students."""
    found = {}
    for domain, splits in sentiment().items():
        file = parts.RUNS / f"{label}_{domain}.right"
        if not file.exists():
            write_atomically(file, save({"right": training.evaluate(model, splits.test).correct}))
        found[domain] = load_file(file)["right"]
    return found


def accuracy() -> Iterator[dict[str, Any]]:
    """Every trained student on the test split of every domain, against the teacher on the same sentences."""
    teacher = parts.teacher()
    before = correct("teacher", teacher)
    yield row("teacher", [0], teacher, before, [before])
    movies: dict[str, dict[int, Tensor]] = {}
    for name, files in trained():
        students = [storage.load(file) for file in files]
        after = [correct(file.stem, student) for file, student in zip(files, students, strict=True)]
        seeds = [int(file.stem.rpartition("_")[2]) for file in files]
        movies[name] = {seed: by_domain["movies"] for seed, by_domain in zip(seeds, after, strict=True)}
        validation = [training.evaluate(student, parts.movies().validation).accuracy for student in students]
        yield row(name, seeds, students[0], before, after) | {
            "epochs": parts.CASES[name].epochs, "validation": validation,
            "stored_bytes": storage.stored_bytes(files[0]),
        } | over_tenth(name, movies)  # fmt: skip


def over_tenth(name: str, movies: dict[str, dict[int, Tensor]]) -> dict[str, Any]:
    """Points gained over ``tenth`` by a student of its size on movie sentences, seed by seed; empty for other sizes."""
    if not name.startswith("tenth_"):
        return {}
    ours, theirs = movies[name], movies["tenth"]
    seeds = sorted(ours.keys() & theirs.keys())
    return points_gained(torch.stack([theirs[seed] for seed in seeds]), torch.stack([ours[seed] for seed in seeds]))


def row(
    name: str, seeds: list[int], model: Any, before: dict[str, Tensor], after: list[dict[str, Tensor]]
) -> dict[str, Any]:
    """Mean accuracy over the seeds, share of the teacher's, and its interval over sentences and seeds, by domain."""
    figures: dict[str, Any] = {"name": name, "seeds": seeds, "parameters": profiling.count_parameters(model)}
    figures["macs"] = profiling.count_macs(model, parts.movies().test.example(1))
    for domain, theirs in before.items():
        ours = torch.stack([by_domain[domain] for by_domain in after])
        low, high = report.paired_bootstrap(theirs, ours)
        share = float(ours.double().mean())
        figures |= {
            domain: share, f"{domain}_retained": share / float(theirs.double().mean()), f"{domain}_low": low,
            f"{domain}_high": high, f"{domain}_seeds": [float(one[domain].double().mean()) for one in after],
        }  # fmt: skip
    return figures


def speed() -> Iterator[dict[str, Any]]:
    """Latency of one student per shape, interleaved with the teacher; the threads are those of this process."""
    files = {name: files[0] for name, files in trained() if name in SHAPES}
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


PARTS = {"accuracy": accuracy, "speed": speed}


def ship(rows: list[dict[str, Any]]) -> None:
    """Copy the smallest student of the first seed into the package, and write its card."""
    shutil.copy(parts.RUNS / f"tenth_{parts.SEEDS[0]}.safetensors", RESULTS / f"{SHIPPED}.safetensors")
    teacher = next(one for one in rows if one["name"] == "teacher")
    student = next(one for one in rows if one["name"] == "tenth")
    lines = [
        f"| {domain} | {student[domain]:.2%} | {student[f'{domain}_retained']:.1%} "
        f"| {student[f'{domain}_low']:.1%} to {student[f'{domain}_high']:.1%} |"
        for domain in data.SENTIMENT_DOMAINS
    ]
    text = CARD.format(
        shipped=SHIPPED, parameters=student["parameters"], teacher_parameters=teacher["parameters"],
        width=parts.TENTH["hidden_size"], rows=parts.ROWS, factor=parts.FACTOR, copies=parts.COPIES,
        temperature=parts.SOFT.temperature, alpha=parts.SOFT.alpha, lines="\n".join(lines),
    )  # fmt: skip
    write_atomically(assets.FOLDER / "cards" / f"{SHIPPED}.md", text)


def train(seconds: int) -> None:
    """Train what is missing, in the order of ``parts.CASES``, within a time limit."""
    with parts.time_limit(seconds):
        for name in parts.CASES:
            for seed in parts.SEEDS:
                parts.kept(name, seed)


def main() -> None:
    """Measure the parts that were asked for, or train."""
    options = parser(__doc__, parts=PARTS)
    options.add_argument("--seconds", type=int, default=0, help="only train, for this long")
    arguments = options.parse_args()
    if arguments.quick:
        columns = ("name", "seeds", "parameters", "movies", "movies_retained")
        stored = assets.results("distillation_bert")["accuracy"]["rows"]
        measure_shipped(__doc__, arguments, "minilm", {SHIPPED: SHIPPED}, parts.movies().test, stored, columns=columns)
    elif arguments.seconds:
        train(arguments.seconds)
    else:
        target = arguments.json or FILE
        for part in arguments.only:
            results = merge(target, part, PARTS[part]())
        if target == FILE and "accuracy" in arguments.only:
            ship(results["accuracy"]["rows"])
            build_manifest()


if __name__ == "__main__":
    main()
