"""Post-training quantization, measured: bits, calibration, corrections, saturation, int8 on ONNX Runtime.

    python benchmarks/quantization.py --quick                 # measure the int8 file of ResNet18 again (≤ 3 minutes)
    python benchmarks/quantization.py                         # everything
    python benchmarks/quantization.py --only resnet18 minilm  # the timed parts; on an otherwise idle machine

Each part is merged into the results file when it is done; --json names another file. Calibration sees validation or
training examples, the test split is read for the rows that are reported.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from build_assets import build_manifest
from common import Results, merge, parser, quality, read
from pruning_parts import evaluate

from course_lib import assets, data, models, report, storage, training
from course_lib import quantization as q
from course_lib.core.atomic_write import write_atomically
from course_lib.quantization import Scheme
from course_lib.quantization.bit_sweep import GRANULARITIES, scheme_for

FILE = assets.FOLDER / "results" / "quantization.json"
FOLDER = Path(tempfile.gettempdir()) / "course-quantization"
BITS = (8, 7, 6, 5, 4, 3, 2)
CALIBRATION = 256
MANY = 2000  # of the 10,000 test images, where many models are compared
SOME = 1000  # where each of them is also calibration_split, or every sum is emulated
ACTIVATION_BITS = (8, 6, 5, 4, 3, 2)
RUNS = 30
QUICK_RUNS = 9
Row = dict[str, Any]

CARD = """# Post-training quantization, measured

`results/quantization.json` holds what `benchmarks/quantization.py` measured on the shipped `resnet18` and `minilm`; the
tables in it: {parts}. What is called emulated was not measured on a processor of that kind.
Calibration used {calibration} examples of validation (ResNet18) or train
(MiniLM). No file of weights is shipped: each is made in seconds.

| model | stored bytes | test accuracy | retained | speed-up over ONNX Runtime fp32 |
|---|---|---|---|---|
{rows}

Machine of the timings: {machine}. Licence: Apache-2.0. For teaching compression.
"""


def fashion() -> data.Splits:
    """The images that ResNet18 was trained on."""
    return data.load("fashion_mnist")


def measured(after: training.Evaluation, before: training.Evaluation) -> Row:
    """``quality`` with the number of examples."""
    return {**quality(after, before), "examples": len(after.labels)}


def weights() -> Iterator[Row]:
    """ResNet18, weights only: test accuracy, stored bytes and SQNR for every bit width and granularity."""
    test, exact = fashion().test.subset(MANY), q.fold_batchnorm(models.load("resnet18"))
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


def calibration() -> Iterator[Row]:
    """ResNet18, 8-bit weights, activations of 8 to 2 bits: accuracy with the ranges of each observer."""
    splits, model = fashion(), models.load("resnet18")
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


def repairs() -> Iterator[Row]:
    """ResNet18, weights only: accuracy after equalization and bias correction, per tensor and per channel."""
    splits, exact = fashion(), q.fold_batchnorm(models.load("resnet18"))
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


def saturation() -> Iterator[Row]:
    """ResNet18 W8A8 as a processor without VNNI computes it (emulated): SQNR per layer, and accuracy."""
    splits, model = fashion(), models.load("resnet18")
    calibration_split, test = splits.validation.subset(CALIBRATION), splits.test.subset(SOME)
    for bits in (8, 7):
        result = q.post_training_quantization(model, calibration_split, weights=Scheme(bits))
        before, after = evaluate(result.exact, test), evaluate(result.model, test)
        yield {"weight_bits": bits, "sums": "exact", "sqnr_db": layer_sqnr(result), **measured(after, before)}
        with q.saturating_layers(result.model):
            sqnr, after = layer_sqnr(result), training.evaluate(result.model, test, batch_size=50)
        yield {"weight_bits": bits, "sums": "saturating (emulated)", "sqnr_db": sqnr, **measured(after, before)}


def layer_sqnr(result: q.QuantizationResult) -> dict[str, float]:
    """Layer → SQNR of its output on some validation images."""
    table = q.output_report(result.exact, result.model, fashion().validation, examples=16)
    return table.set_index("layer").sqnr_db.round(2).to_dict()


def resnet18(runs: int = RUNS) -> Iterator[Row]:
    """Packed integers, and int8 files for ONNX Runtime with 8-bit and 7-bit weights."""
    splits, model = fashion(), models.load("resnet18")
    calibration_split = splits.validation.subset(CALIBRATION)
    packed = q.post_training_quantization(model, calibration_split).model
    deployed = {
        f"int8 ONNX, {8 - reduced} bits": q.deploy_static(
            model, calibration_split, FOLDER / f"resnet18_{reduced}.onnx", reduce_range=reduced
        )
        for reduced in (False, True)
    }
    table = report.compare(
        model, packed, *deployed.values(), on=splits.test, names=["baseline", "packed W8A8", *deployed], runs=runs,
        memory=False, progress=False,
    )  # fmt: skip
    print(table)
    yield from json.loads(table.to_json())["rows"]


def minilm(runs: int = RUNS) -> Iterator[Row]:
    """Dynamic and static int8 on ONNX Runtime, including embeddings, in all three domains."""
    splits, model = data.load("sentiment"), models.load("minilm")
    domains = {name: data.load("sentiment", domain=name).test for name in ("amazon", "tweets")}
    calibration_split = splits.train.subset(CALIBRATION)
    deployed = {
        "int8 ONNX, dynamic": q.deploy_dynamic(model, splits.validation.example(1), FOLDER / "minilm_dynamic.onnx"),
        "int8 ONNX, static": q.deploy_static(model, calibration_split, FOLDER / "minilm_static.onnx"),
        "int8 ONNX, static, clipped": q.deploy_static(
            model, calibration_split, FOLDER / "minilm_mse.onnx", method="mse"
        ),
    }
    packed = q.quantize_weights(model, embeddings=Scheme())
    table = report.compare(
        model, packed, *deployed.values(), on=splits.test, names=["baseline", "packed W8", *deployed], runs=runs,
        domains=domains, memory=False, progress=False,
    )  # fmt: skip
    print(table)
    yield from json.loads(table.to_json())["rows"]


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "weights": weights, "calibration": calibration, "repairs": repairs, "saturation": saturation,
    "resnet18": resnet18, "minilm": minilm,
}  # fmt: skip


def write_card(results: dict[str, Any]) -> None:
    """The card, with the figures of the results file."""
    rows = [
        f"| {model}, {row['name']} | {row['stored_bytes']:,} | {row['accuracy']:.2%} | {row['retained']:.2%} | "
        f"{'–' if row['speedup'] is None else format(row['speedup'], '.2f')} |"
        for model in ("resnet18", "minilm")
        for row in results[model]["rows"]
    ]
    text = CARD.format(
        rows="\n".join(rows),
        machine=results["resnet18"]["machine"],
        calibration=CALIBRATION,
        parts=", ".join(f"`{part}`" for part in results),
    )
    write_atomically(assets.FOLDER / "cards" / "quantization.md", text)


def quick(arguments: argparse.Namespace) -> None:
    """Measure the int8 file of ResNet18 again, and print the stored measurements as well."""
    results = Results(__doc__, arguments, runs=QUICK_RUNS)
    splits, model = fashion(), models.load("resnet18")
    deployed = q.deploy_static(model, splits.validation.subset(CALIBRATION), FOLDER / "quick.onnx", reduce_range=False)
    table = report.compare(
        model, deployed, on=splits.test.subset(MANY), names=["baseline", "int8 ONNX, 8 bits"], runs=QUICK_RUNS,
        settings=((1, 2),), memory=False, progress=False,
    )  # fmt: skip
    shown = ("name", "stored_bytes", "accuracy", "retained", "speedup", "speedup_over_eager")
    results.table("now", [{key: row.to_dict()[key] for key in shown} for row in table.rows])
    before = read(FILE)["resnet18"]["rows"]
    results.table("when shipped", [{key: row[key] for key in shown} for row in before])
    results.save()


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = parser(__doc__, parts=PARTS).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.quick:
        quick(arguments)
        return
    target = arguments.json or FILE
    for part in arguments.only:
        merge(target, part, PARTS[part]())
    results = read(target)
    if target == FILE and {"resnet18", "minilm"} <= results.keys():
        write_card(results)
    build_manifest()


if __name__ == "__main__":
    main()
