"""Post-training quantization, measured: bits, calibration, corrections, saturation, int8 on ONNX Runtime.

    python benchmarks/quantization.py --quick                 # measure the int8 file of ResNet18 again (≤ 3 minutes)
    python benchmarks/quantization.py                         # everything
    python benchmarks/quantization.py --only resnet18 minilm  # the timed parts; on an otherwise idle machine

Calibration sees validation or training examples, the test split is read for the rows that are reported.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
from build_assets import build_manifest
from common import Part, Row, quality
from pruning_parts import evaluate

from course_lib import assets, data, models, report, storage, training
from course_lib import quantization as q
from course_lib.quantization import Scheme
from course_lib.quantization.bit_sweep import GRANULARITIES, scheme_for

FOLDER = Path(tempfile.gettempdir()) / "course-quantization"
BITS = (8, 7, 6, 5, 4, 3, 2)
CALIBRATION = 256
MANY = 2000  # of the 10,000 test images, where many models are compared
SOME = 1000  # where each of them is also calibrated, or every sum is emulated
ACTIVATION_BITS = (8, 6, 5, 4, 3, 2)
QUICK_RUNS = 9


def measured(after: training.Evaluation, before: training.Evaluation) -> Row:
    """``quality`` with the number of examples."""
    return {**quality(after, before), "examples": len(after.labels)}


def weights(splits: data.Splits) -> Iterator[Row]:
    """ResNet18, weights only: test accuracy, stored bytes and SQNR for every bit width and granularity."""
    test, exact = splits.test.subset(MANY), q.fold_batchnorm(models.load("resnet18"))
    before = evaluate(exact, test)
    yield {"granularity": "none", "bits": 32, "stored_bytes": None, "sqnr_db": {}, **measured(before, before)}
    layers = q.quantizable_layers(exact).items()
    for granularity in GRANULARITIES:
        for bits in BITS:
            schemes = {name: scheme_for(layer, bits, granularity) for name, layer in layers}
            model = q.quantize_weights(exact, overrides=schemes)
            file = storage.save(model, FOLDER / "weights.safetensors")
            table = q.weight_report(exact, model)
            yield {
                "granularity": granularity, "bits": bits, "stored_bytes": storage.stored_bytes(file),
                "sqnr_db": dict(zip(table.tensor, table.sqnr_db.round(2), strict=True)),
                **measured(evaluate(model, test), before),
            }  # fmt: skip


def calibration(splits: data.Splits) -> Iterator[Row]:
    """ResNet18, 8-bit weights, activations of 8 to 2 bits: accuracy with the ranges of each observer."""
    model = models.load("resnet18")
    test, calibration_split = splits.test.subset(SOME), splits.validation.subset(CALIBRATION)
    before = evaluate(q.fold_batchnorm(model), test)
    for method in q.OBSERVERS:
        for bits in ACTIVATION_BITS:
            result = q.post_training_quantization(model, calibration_split, method=method, activation_bits=bits)
            sqnr = q.output_report(result.exact, result.model, splits.validation).set_index("layer").sqnr_db
            yield {
                "method": method, "activation_bits": bits, "sqnr_db_of_logits": sqnr["fc"],
                "mean_sqnr_db": sqnr.mean(), **measured(evaluate(result.model, test), before),
            }  # fmt: skip


def repairs(splits: data.Splits) -> Iterator[Row]:
    """ResNet18, weights only: accuracy after equalization and bias correction, per tensor and per channel."""
    exact = q.fold_batchnorm(models.load("resnet18"))
    test, calibration_split = splits.test.subset(SOME), splits.validation.subset(CALIBRATION)
    before, equalized = evaluate(exact, test), q.equalize(exact)
    for granularity in ("per_tensor", "per_channel"):
        for bits in (6, 4, 3):
            plain, even = (q.quantize_weights(model, Scheme(bits, granularity)) for model in (exact, equalized))
            variants = {
                "nearest": plain,
                "bias corrected": q.correct_bias(plain, exact, calibration_split),
                "equalized": even,
                "both": q.correct_bias(even, equalized, calibration_split),
            }
            for name, model in variants.items():
                yield {"granularity": granularity, "bits": bits, "repair": name,
                       **measured(evaluate(model, test), before)}  # fmt: skip


def saturation(splits: data.Splits) -> Iterator[Row]:
    """ResNet18 W8A8 as a processor without VNNI computes it (emulated): SQNR per layer, and accuracy."""
    model = models.load("resnet18")
    calibration_split, test = splits.validation.subset(CALIBRATION), splits.test.subset(SOME)
    for bits in (8, 7):
        result = q.post_training_quantization(model, calibration_split, weights=Scheme(bits))
        before, after = evaluate(result.exact, test), evaluate(result.model, test)
        sqnr = layer_sqnr(result, splits.validation)
        yield {"weight_bits": bits, "sums": "exact", "sqnr_db": sqnr, **measured(after, before)}
        with q.saturating_layers(result.model):
            sqnr, after = layer_sqnr(result, splits.validation), training.evaluate(result.model, test, batch_size=50)
        yield {"weight_bits": bits, "sums": "saturating (emulated)", "sqnr_db": sqnr, **measured(after, before)}


def layer_sqnr(result: q.QuantizationResult, images: data.Split) -> dict[str, float]:
    """Layer → SQNR of its output on some images."""
    table = q.output_report(result.exact, result.model, images, examples=16)
    return table.set_index("layer").sqnr_db.round(2).to_dict()


def resnet18(splits: data.Splits) -> Iterator[Row]:
    """Packed integers, and int8 files for ONNX Runtime with 8-bit and 7-bit weights."""
    model = models.load("resnet18")
    calibration_split = splits.validation.subset(CALIBRATION)
    packed = q.post_training_quantization(model, calibration_split).model
    deployed = {
        f"int8 ONNX, {8 - reduced} bits": q.deploy_static(
            model, calibration_split, FOLDER / f"resnet18_{reduced}.onnx", reduce_range=reduced
        )
        for reduced in (False, True)
    }
    table = report.compare(
        model, packed, *deployed.values(), on=splits.test, names=["baseline", "packed W8A8", *deployed], memory=False,
        progress=False,
    )  # fmt: skip
    yield from common.rows_of(table)


def minilm(_: data.Splits) -> Iterator[Row]:
    """Dynamic and static int8 on ONNX Runtime, including embeddings, in all three domains."""
    splits, model = data.load("sentiment"), models.load("minilm")
    calibration_split = splits.train.subset(CALIBRATION)
    smaller = {
        "packed W8": q.quantize_weights(model, embeddings=Scheme()),
        "int8 ONNX, dynamic": q.deploy_dynamic(model, splits.validation.example(1), FOLDER / "minilm_dynamic.onnx"),
        "int8 ONNX, static": q.deploy_static(model, calibration_split, FOLDER / "minilm_static.onnx"),
        "int8 ONNX, static, clipped": q.deploy_static(
            model, calibration_split, FOLDER / "minilm_mse.onnx", method="mse"
        ),
    }
    others = {name: common.sentiment()[name].test for name in ("amazon", "tweets")}
    yield from common.rows_of(common.compare_minilm(smaller, domains=others, memory=False, progress=False))


PARTS: dict[str, Part] = {
    "weights": weights, "calibration": calibration, "repairs": repairs, "saturation": saturation,
    "resnet18": resnet18, "minilm": minilm,
}  # fmt: skip


def card(results: dict[str, Any]) -> None:
    """The card, with the figures of the results file."""
    rows = []
    for model in ("resnet18", "minilm"):
        for row in results[model]["rows"]:
            shares = f"{row['accuracy']:.2%}", f"{row['retained']:.2%}"
            speedup = "–" if row["speedup"] is None else f"{row['speedup']:.2f}"
            rows.append([f"{model}, {row['name']}", f"{row['stored_bytes']:,}", *shares, speedup])
    common.write_card(
        "quantization", rows=common.table_lines(rows), machine=results["resnet18"]["machine"], calibration=CALIBRATION,
        parts=", ".join(f"`{part}`" for part in results),
    )  # fmt: skip


def quick(arguments: argparse.Namespace) -> None:
    """Measure the int8 file of ResNet18 again, and print the stored measurements as well."""
    splits, file = data.load("fashion_mnist"), FOLDER / "quick.onnx"
    calibration_split = splits.validation.subset(CALIBRATION)
    deployed = q.deploy_static(models.load("resnet18"), calibration_split, file, reduce_range=False)
    stored = assets.results("quantization")["resnet18"]["rows"]
    smaller, test = {"int8 ONNX, 8 bits": deployed}, splits.test.subset(MANY)
    common.measure_shipped(__doc__, arguments, smaller, test, stored, runs=QUICK_RUNS, progress=False)


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = common.parser(__doc__, parts=PARTS).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.quick:
        quick(arguments)
        return
    results = common.run_parts(arguments, "quantization", PARTS, data.load("fashion_mnist"))
    if {"resnet18", "minilm"} <= results.keys():
        card(results)
    build_manifest()


if __name__ == "__main__":
    main()
