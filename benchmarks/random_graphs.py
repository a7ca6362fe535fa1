"""Random graphs through every entry point: the result is right, or the graph is refused by name.

2,000 graphs for each entry point, 200 where an ONNX export is part of it; the seeds are 0, 1, 2, …. A results file that
has fewer is continued.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, Row, merge, parser, read
from foreign_operations import is_on_a_grid, macs_by_formula, masked, matrices, relative
from random_graph import Logits, images, logits, random_graph, split
from torch import nn

from course_lib import lowrank, profiling, pruning, quantization, storage
from course_lib.architectures.batchnorm_folding import fold_batchnorm

NAME = "random_graphs"
MANY, FEW, QUICK, CHUNK = 2000, 200, 20, 100
CLOSE = 1e-4


def structured(seed: int) -> float:
    """Channels of every group are removed; equal to the masked model."""
    model = random_graph(seed, nested=seed % 2 == 1)
    result = pruning.prune_channels(model, 0.6, criterion="random", seed=seed)
    expected = logits(masked(model, result.coupling, result.kept), images())
    return max(relative(logits(result.model, images()), expected), sometimes_reloaded(result.model, seed))


def magnitude(seed: int) -> float:
    """Half of every matrix becomes zero, its smallest entries."""
    model = random_graph(seed, nested=seed % 2 == 1)
    pruned = pruning.StructuredPruner(model, 0.5).magnitude_based_pruning().model
    expected = copy.deepcopy(model)
    for parameter in matrices(expected):
        order = parameter.detach().abs().flatten().argsort(stable=True)
        parameter.data.view(-1)[order[: round(0.5 * parameter.numel())]] = 0
    return relative(logits(pruned, images()), logits(expected, images()))


def low_rank(seed: int) -> float:
    """Every layer that can be is factored; equal to the model with the products of the factors."""
    model: Any = random_graph(seed, nested=seed % 2 == 1)
    plan = lowrank.plan_for_size(model, 0.7, multiple=1)
    result = lowrank.factorize(model, plan)
    expected: Any = copy.deepcopy(model)
    for name in plan:
        chain: Any = result.model.get_submodule(name)
        expected.get_submodule(name).weight.data.copy_(lowrank.merge(chain))
    error = relative(logits(result.model, images()), logits(expected, images()))
    return max(error, sometimes_reloaded(result.model, seed))


def fold(seed: int) -> float:
    """The same function without the norms that follow a layer."""
    model = random_graph(seed, nested=seed % 2 == 1)
    folded = fold_batchnorm(model)
    return max(relative(logits(folded, images()), logits(model, images())), sometimes_reloaded(folded, seed))


def ptq(seed: int) -> float:
    """Every matrix is on a grid of 8 bits, and the file gives the same logits."""
    quantized = quantization.AdvancedQuantizer(random_graph(seed), split()).post_training_quantization().model
    assert all(is_on_a_grid(parameter.detach()) for parameter in matrices(quantized)), "a matrix is on no grid"
    return sometimes_reloaded(quantized, seed)


def equalization(seed: int) -> float:
    """Channels are scaled between layers without changing the function."""
    folded = fold_batchnorm(random_graph(seed))
    return relative(logits(quantization.equalize(folded), images()), logits(folded, images()))


def macs(seed: int) -> float:
    """Multiply-accumulates equal formulas for the layers that are called."""
    model = Logits(random_graph(seed, nested=seed % 2 == 1))
    expected = macs_by_formula(model, images())
    return abs(profiling.count_macs(model, images()) - expected) / expected


def save_and_load(seed: int) -> float:
    """A file gives the same logits, bit for bit."""
    return reloaded(random_graph(seed, nested=seed % 2 == 1))


def onnx(seed: int) -> float:
    """The exported graph gives the same logits."""
    model = random_graph(seed)
    with profiling.onnx(model, images(), threads=1) as runner:
        return relative(runner(), logits(model, images()))


def deploy(seed: int) -> float:
    """A statically quantized file: its error is that of 8 bits, and no more than a few times that of the simulation."""
    model = fold_batchnorm(random_graph(seed))
    with tempfile.TemporaryDirectory() as folder:
        deployed = quantization.deploy_static(model, split(), Path(folder) / "model.onnx")
        return max(0.0, relative(deployed.logits(split()), logits(model, images())) - 0.25)


ENTRY_POINTS: dict[str, tuple[Callable[[int], float], int]] = {
    "structured pruning": (structured, MANY),
    "magnitude pruning": (magnitude, MANY),
    "low rank": (low_rank, MANY),
    "BatchNorm folding": (fold, MANY),
    "PTQ int8": (ptq, MANY),
    "equalization": (equalization, MANY),
    "MACs": (macs, MANY),
    "save and load": (save_and_load, MANY),
    "ONNX": (onnx, FEW),
    "static int8 in ONNX": (deploy, FEW),
}
"""Entry point → its check, which returns the error of a seed, and the number of graphs."""


def sometimes_reloaded(model: nn.Module, seed: int) -> float:
    """As ``reloaded`` for every fourth seed, else 0: files take most of the time."""
    return reloaded(model) if seed % 4 == 0 else 0.0


def reloaded(model: nn.Module) -> float:
    """Difference that saving and loading makes."""
    with tempfile.TemporaryDirectory() as folder:
        again = storage.load(storage.save(model, Path(folder) / "model.safetensors"))
    return relative(logits(again, images()), logits(model, images()))


def run(entry_point: str, seeds: range) -> Row:
    """All seeds through one entry point: how many are right, how many refused and why, and those that are wrong."""
    check = ENTRY_POINTS[entry_point][0]
    worst, refusals, wrong = 0.0, dict[str, int](), dict[str, str]()
    for seed in seeds:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                error = check(seed)
        except ValueError as refusal:
            reason = str(refusal).split("(")[0][:80]
            refusals[reason] = refusals.get(reason, 0) + 1
        except Exception as failure:
            wrong[str(seed)] = f"{type(failure).__name__}: {failure}"[:200]
        else:
            worst = max(worst, error)
            if error > CLOSE:
                wrong[str(seed)] = f"error {error:.2g}"
    refused = sum(refusals.values())
    return {
        "entry_point": entry_point, "graphs": len(seeds), "right": len(seeds) - refused - len(wrong),
        "refused": refused, "wrong": len(wrong), "largest_error": worst, "reasons": refusals, "failures": wrong,
    }  # fmt: skip


def joined(earlier: Row | None, row: Row) -> Row:
    """Two rows of one entry point as one."""
    if earlier is None:
        return row
    sums = {key: earlier[key] + row[key] for key in ("graphs", "right", "refused", "wrong")}
    counts = Counter(earlier["reasons"]) + Counter(row["reasons"])
    worst = max(earlier["largest_error"], row["largest_error"])
    found = {"largest_error": worst, "reasons": dict(counts), "failures": {**earlier["failures"], **row["failures"]}}
    return {"entry_point": row["entry_point"], **sums, **found}


def main() -> None:
    arguments = parser(__doc__, quick="20 graphs for each entry point", parts=ENTRY_POINTS)
    arguments.add_argument("--graphs", type=int, help="so many graphs instead")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    target = options.json or RESULTS / f"{NAME}.json"
    counts = {name: QUICK if options.quick else options.graphs or ENTRY_POINTS[name][1] for name in options.only}
    for start in range(0, max(counts.values()), CHUNK):
        for name, count in counts.items():
            rows = {row["entry_point"]: row for row in read(target).get("graphs", {}).get("rows", [])}
            done = rows[name]["graphs"] if name in rows else 0
            end = min(start + CHUNK, count)
            if done < end:  # an interrupted run goes on after its last graphs
                row = run(name, range(done, end))
                merge(target, "graphs", [joined(rows.get(name), row)], key="entry_point")


if __name__ == "__main__":
    main()
