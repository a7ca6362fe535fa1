"""Few bits that run: layers, MiniLM and language models on MatMulNBits, and a 4-bit kernel in numba, against fp32.

    python benchmarks/deploy.py --quick                      # two layers, the kernel and the tiny Llama (≤ 3 minutes)
    python benchmarks/deploy.py --only grid kernel           # timed; on an otherwise idle machine
    python benchmarks/deploy.py --only heads agreement peers # smollm2; first `course fetch smollm2`

Every part is timed but ``parity`` and ``agreement``. ``peers`` needs onnxruntime-genai (extra ``peers``). Quantized
models and exported files are kept in runs/deploy/.
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import deploy_language as language
import deploy_layers as layers
from build_assets import build_manifest
from common import Part

PARTS: dict[str, Part] = {
    "grid": layers.grid,
    "kernel": layers.kernel,
    "decoder_layer": layers.decoder_layer,
    "parity": language.parity,
    "minilm": language.minilm,
    "tiny": language.tiny,
    "heads": language.heads,
    "agreement": language.agreement,
    "peers": language.peers,
}


def quick(arguments: argparse.Namespace) -> None:
    """A small part of the grid, the kernel at the smallest shape, and the tiny Llama."""
    results = common.Results(__doc__, arguments, runs=common.QUICK_RUNS)
    results.table("grid", layers.grid(layers.SHAPES[:2], (1, 32), common.QUICK_RUNS))
    results.table("kernel", layers.kernel(layers.KERNEL_SHAPES[:1], common.QUICK_RUNS))
    results.table("tiny", language.tiny(rounds=2))
    results.save()


def card(results: dict[str, Any]) -> None:
    """The card, with the figures of the results file."""
    four = [row for row in results["grid"]["rows"] if row["bits"] == 4 and row["level"] == 4 and row["threads"] == 2]
    shapes = sorted({(row["outputs"], row["inputs"]) for row in four})
    rows = []
    for shape in shapes:
        found = {row["rows"]: row["speedup"] for row in four if (row["outputs"], row["inputs"]) == shape}
        rows.append([f"{shape[0]} × {shape[1]}", *(f"{found[count]:.1f}×" for count in (1, 4, 32, 128))])
    grid = results["grid"]
    common.write_card("deploy", machine=grid["machine"], rows=common.table_lines(rows))


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = common.parser(__doc__, parts=PARTS).parse_args()
    if arguments.quick:
        quick(arguments)
        return
    results = common.run_parts(arguments, "deploy", PARTS)
    if "grid" in results:
        card(results)
    build_manifest()


if __name__ == "__main__":
    main()
