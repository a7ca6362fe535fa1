"""Parts of benchmarks/coding.py about ideas: lossless compression, one layer by four quantizers, coders, and cost."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

import coding_parts as parts
import common
import torch
from common import Row, timed
from torch import Tensor

from course_lib import assets, coding, models, storage

LAYER = "layer3.1.conv2.weight"
STEPS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # in standard deviations of the layer
LAMBDAS = (0.0, 0.05, 0.15)  # error per bit, in squared steps
CODEBOOKS = (2, 4, 8, 16, 32)
WEIGHTS = 20_000  # of the layer; the trellis goes from one weight to the next


def lossless(_: Any) -> Iterator[Row]:
    """Bytes of the fp32, fp16 and pruned file and of what general compressors make of them, with field entropies."""
    model = models.load("resnet18")
    files = {"fp32": (model, "fp32"), "fp16": (model, "fp16")}
    files["pruned, dense fp16"] = storage.load(assets.path("resnet18_pruned_95")), "fp16"
    for name, (net, dtype) in files.items():
        path = storage.save(net, parts.RUNS / "lossless.safetensors", dtype=dtype, encoding="dense")
        values = torch.cat([weight.flatten() for weight in coding.weights_of(net).values()])
        fields = coding.field_entropy(values, dtype)
        yield {
            "file": name, "stored_bytes": path.stat().st_size, **coding.compressed_sizes(path.read_bytes()),
            "sign_bits": fields.sign, "exponent_bits": fields.exponent, "mantissa_bits": fields.mantissa,
            "exponent_coded_bytes": coding.exponent_coded_bits(values, dtype) / 8,
        }  # fmt: skip


def layer(_: Any) -> Iterator[Row]:
    """Bits per weight and squared error of weights of one layer: k-means, uniform, RDOQ, dependent quantization."""
    weight = coding.weights_of(parts.original("resnet18"))[LAYER].flatten()[:WEIGHTS]
    power = weight.double().square().mean()

    def row(method: str, levels: Tensor, values: Tensor, **facts: Any) -> Row:
        error = (weight.double() - values.double()).square().mean() / power
        return {"method": method, "bits": coding.entropy_bits(levels) / levels.numel(), "error": error.item(), **facts}

    for k in CODEBOOKS:
        book = coding.k_means(weight, k, method="density")
        yield row("k-means", book.indices, book.values(), k=k)
    for step in (factor * weight.std().item() for factor in STEPS):
        for share in LAMBDAS:
            point = coding.rdoq_point(weight, step, share * step**2)
            name = "RDOQ" if share else "uniform"
            yield row(name, point.levels, point.levels * step, step=step, share=share)
        for states in (4, 8):
            levels = dependent_levels(weight, step / 1.5, states)
            values = coding.dependent_values(levels, step / 1.5, states)
            yield row(f"dependent, {states} states", levels, values, step=step / 1.5)


def dependent_levels(weight: Tensor, step: float, states: int) -> Tensor:
    """Dependent quantization of a vector with λ of the middle of ``LAMBDAS``; code and levels are found in turns."""
    bits = coding.empirical_bits(coding.quantize_levels(weight, torch.tensor(2 * step)))
    levels = coding.dependent_quantize(weight, step, LAMBDAS[1] * step**2, bits, states)
    return coding.dependent_quantize(weight, step, LAMBDAS[1] * step**2, coding.empirical_bits(levels), states)


def chosen_files() -> dict[str, Row]:
    """Point → the row of its chosen file in the stored results."""
    return {row["point"]: row for row in common.read(common.RESULTS / "coding.json")["points"]["rows"]}


def coders(_: Any) -> Iterator[Row]:
    """The coded files beside the ideal length of their own model, and beside Huffman codes."""
    for point, row in chosen_files().items():
        model = storage.load(parts.file_of(parts.CASES[row["model"]], row["c"]))
        levels = [one for _, (one, _) in sorted(coding.levels_of(model).items())]
        files = {
            coder: storage.save(model, parts.RUNS / f"{coder}.safetensors", dtype="fp16", coder=coder)
            for coder in ("arithmetic", "huffman")
        }
        huffman = sum(huffman_bits(one) for one in levels) / 8
        yield {
            "point": point, "order_0_bytes": sum(map(coding.entropy_bits, levels)) / 8,
            "adaptive_bytes": storage.code_length(levels) / 8, "huffman_bytes": huffman,
            **{f"{coder}_file": file.stat().st_size for coder, file in files.items()},
        }  # fmt: skip


def huffman_bits(levels: Tensor) -> int:
    """Bits of the levels of a layer by a Huffman code of its own, without its table."""
    counts = levels.flatten().unique(return_counts=True)[1].tolist()
    return coding.code_bits(counts, coding.code_lengths(counts))


def cost(_: Any) -> Iterator[Row]:
    """Seconds of encoding and loading the coded files; timed, best of three."""
    for point, row in chosen_files().items():
        file = parts.coded_file(parts.CASES[row["model"]], row["c"])
        model, target = storage.load(file), parts.RUNS / "cost.safetensors"
        saving = min(timed(storage.save, model, target, dtype="fp16", coder="arithmetic")[0] for _ in range(3))
        loading = min(timed(storage.load, file)[0] for _ in range(3))
        yield {"point": point, "stored_bytes": row["stored_bytes"], "save_seconds": saving, "load_seconds": loading}


def quick(description: str | None, arguments: argparse.Namespace, stored: Iterable[Row]) -> None:
    """Code the smallest model again at its stored values of c, and print the stored measurements as well."""
    results = common.Results(description, arguments)
    case = parts.CASES["student_400"]
    again = []
    for row in stored:
        if row["model"] == case.name:
            found = parts.candidate(case, row["c"])
            again.append({key: found[key] for key in ("model", "c", "stored_bytes", "validation", "agreement")})
    shown = ("point", "c", "stored_bytes", "nncodec_bytes", "ratio", "accuracy", "retained", "nncodec_retained")
    results.table("now", again)
    results.table("when shipped", [{key: row[key] for key in shown} for row in stored])
    results.save()
