"""AdaRound, quantization-aware training (QAT) and mixed precision on ResNet18: accuracy and stored bytes by bit width.

    python benchmarks/quantization_qat.py --quick             # re-measure the shipped quantized files (≤ 3 minutes)
    python benchmarks/quantization_qat.py                     # everything
    python benchmarks/quantization_qat.py --only W2A4 mixed

All parts use the 20,000 shipped training images. Part ``choices`` compares hyper-parameters on validation; it was not
run for the shipped rows, whose learning rate comes from one short run. Test is read for the reported rows only.
"""

from __future__ import annotations

import shutil
from typing import Any

import common
import quantization_qat_parts as parts
from build_assets import build_manifest
from common import Part

from course_lib import assets, data

SHIPPED = {name: f"resnet18_{name.lower()}" for name in ("W4A4", "W2A4")}
QUICK_RUNS = 5
MODELS: dict[str, Part] = {
    "adaround4": parts.adaround(4),
    "W4A4": parts.train("W4A4"),
    "W2A4": parts.train("W2A4"),
    "rtn4": parts.round_to_nearest(4),
    "W8A8": parts.train("W8A8"),
    "rtn8": parts.round_to_nearest(8),
    "rtn3": parts.round_to_nearest(3),
    "rtn2": parts.round_to_nearest(2),
    "adaround3": parts.adaround(3),
    "adaround2": parts.adaround(2),
    "adaroundW2A4": parts.adaround(2, 4),
    "W3A4": parts.train("W3A4"),
}
PARTS = {**MODELS, "choices": parts.choices, "sensitivity": parts.sensitivity, "mixed": parts.mixed}


def ship(results: dict[str, Any]) -> None:
    """Copy the trained files into the package, and write their card with the figures of the results file."""
    rows = []
    for name, shipped in SHIPPED.items():
        if (made := parts.RUNS / f"QAT {name}.safetensors").exists():
            shutil.copyfile(made, common.RESULTS / f"{shipped}.safetensors")
        row = common.find(results["models"], name=f"QAT {name}")
        counts = f"{row['stored_bytes']:,}", f"{row['images']:,}"
        file = f"`results/{shipped}.safetensors`"
        rows.append([name, file, *counts, f"{row['accuracy']:.2%}", common.retained(row)])
    common.write_card("resnet18_quantized", rows=common.table_lines(rows))


def main() -> None:
    """Measure the parts that were asked for."""
    options = common.parser(__doc__, quick="measure the shipped files again", parts=PARTS)
    options.add_argument("--ship", action="store_true", help="copy the trained files into the package")
    arguments, splits = options.parse_args(), data.load("fashion_mnist")
    if arguments.quick:
        stored = assets.results("quantization_qat")["models"]
        rows = [common.find(stored, name=f"QAT {name}") for name in SHIPPED]
        common.measure_shipped(__doc__, arguments, SHIPPED, splits.test, rows, runs=QUICK_RUNS, latency=False)
        return
    results = common.run_parts(
        arguments, "quantization_qat", PARTS, splits, shared=dict.fromkeys(MODELS, ("models", "name"))
    )
    if arguments.ship:
        ship(results)
        build_manifest()


if __name__ == "__main__":
    main()
