"""Weight-only quantization of transformers, measured: MiniLM and the tiny Llama by RTN, GPTQ, AWQ and SmoothQuant.

    python benchmarks/quantization_llm.py --quick         # measure the 4-bit and 3-bit models again (≤ 3 minutes)
    python benchmarks/quantization_llm.py                 # everything
    python benchmarks/quantization_llm.py --only tiny salient

``calibration`` compares sets of training sentences on validation; the parts after it use the best one of the shipped
results. Seeded.
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import quantization_llm_calibration as calibration
import quantization_llm_parts as parts
from build_assets import build_manifest
from common import Part

from course_lib import assets, data
from course_lib.training import language_modeling

PARTS: dict[str, Part] = {
    "calibration": calibration.compare_candidates,
    "tiny": parts.tiny,
    "minilm": parts.minilm,
    "layer_errors": parts.layer_errors,
    "salient": parts.salient,
    "scale_search": parts.scale_search,
    "group_sizes": parts.group_sizes,
    "smooth": parts.smooth,
    "outliers": parts.outliers,
    "cost": parts.cost,
}


def quick(arguments: argparse.Namespace) -> None:
    """Quantize and measure again, and print the stored measurements as well."""
    results, stored, rows = common.Results(__doc__, arguments), assets.results("quantization_llm"), []
    settings = [("tiny_llama", method, bits) for bits in (4, 3) for method in ("rtn", "gptq", "awq")]
    for name, method, bits in [*settings, ("minilm", "gptq", 4), ("minilm", "awq", 4)]:
        size, loaded = parts.save_and_load(parts.quantized(name, method, bits))
        if name == "minilm":
            now = parts.answers(loaded, calibration.sentiment().test).accuracy
            then = common.find(stored["minilm"], method=method, bits=bits, embedding_bits=8)["movies"]
        else:
            now = language_modeling.perplexity(loaded, calibration.text().test.subset(parts.TEST_WINDOWS))
            then = common.find(stored["tiny"], method=method, bits=bits)["test"]
        facts = {"model": name, "method": method, "bits": bits, "bytes": size}
        rows.append({**facts, "now": now, "when shipped": then})
    results.table("now", rows)
    results.save()


def card(results: dict[str, Any]) -> None:
    """The card, with the figures of the results file."""
    rows = []
    for row in results["minilm"]["rows"]:
        shares = [row.get(f"{domain}_retained") for domain in data.SENTIMENT_DOMAINS]
        bits = f"{row['bits']} bits, embeddings {row['embedding_bits']}"
        kept = ["–" if share is None else f"{share:.1%}" for share in shares]
        rows.append([bits, row["method"], f"{row['stored_bytes']:,}", *kept])
    chosen = calibration.best_candidate(results["calibration"]["rows"])
    common.write_card(
        "quantization_llm", sentences=sum(calibration.CANDIDATES[chosen]), windows=calibration.WINDOWS,
        rows=common.table_lines(rows),
    )  # fmt: skip


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = common.parser(__doc__, parts=PARTS).parse_args()
    if arguments.quick:
        quick(arguments)
        return
    results = common.run_parts(arguments, "quantization_llm", PARTS)
    if "minilm" in results:
        card(results)
    build_manifest()


if __name__ == "__main__":
    main()
