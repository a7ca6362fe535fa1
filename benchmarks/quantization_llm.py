"""Weight-only quantization of transformers, measured: MiniLM and the tiny Llama by RTN, GPTQ, AWQ and SmoothQuant.

    python benchmarks/quantization_llm.py --quick         # measure the 4-bit and 3-bit models again (≤ 3 minutes)
    python benchmarks/quantization_llm.py                 # everything
    python benchmarks/quantization_llm.py --only tiny salient

Each part is merged into the results file when it is done; --json names another one. ``calibration`` compares sets of
training sentences on validation; the parts after it use the best one of the shipped results. Seeded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import quantization_llm_calibration as calibration
import quantization_llm_parts as parts
from build_assets import build_manifest
from common import Results, merge, parser, read

from course_lib import assets
from course_lib.core.atomic_write import write_atomically
from course_lib.training import language_modeling

FILE = assets.FOLDER / "results" / "quantization_llm.json"
Part = Callable[[], Iterable[calibration.Row]]
PARTS: dict[str, Part] = {
    "calibration": calibration.compare_candidates,
    "tiny": parts.tiny,
    "minilm": parts.minilm,
    "layer_errors": lambda: parts.layer_errors("minilm"),
    "salient": parts.salient,
    "scale_search": parts.scale_search,
    "group_sizes": parts.group_sizes,
    "smooth": parts.smooth,
    "outliers": parts.outliers,
    "cost": parts.cost,
}
CARD = """# Transformers with few bits per weight

`results/quantization_llm.json`: what `benchmarks/quantization_llm.py` measured on the shipped MiniLM and the tiny Llama
with round-to-nearest, GPTQ, AWQ and SmoothQuant: stored bytes, accuracy, perplexity, errors of every layer, time. No
model is stored here: quantizing MiniLM takes seconds, see lesson 08. Calibration took {sentences} sentences or
{windows} windows of the train splits; which sentences was decided on validation (table `calibration`). The figures
here are of the test splits. Machine and threads stand beside each table. Licence: Apache-2.0.

| MiniLM, groups of 64 | method | stored bytes | movies retained | amazon | tweets |
|---|---|---|---|---|---|
{rows}
"""


def quick(arguments: argparse.Namespace) -> None:
    """Quantize and measure again, and print the stored measurements as well."""
    results = Results(__doc__, arguments)
    stored = assets.results("quantization_llm")
    rows = []
    for bits in (4, 3):
        for method in ("rtn", "gptq", "awq"):
            size, loaded = parts.save_and_load(parts.quantized("tiny_llama", method, bits))
            then = _find(stored["tiny"]["rows"], method=method, bits=bits)
            now = language_modeling.perplexity(loaded, calibration.text().test.subset(parts.TEST_WINDOWS))
            rows.append({"model": "tiny_llama", "method": method, "bits": bits, "bytes": size, "now": now}
                        | {"when shipped": then["test"]})  # fmt: skip
    for method in ("gptq", "awq"):
        size, loaded = parts.save_and_load(parts.quantized("minilm", method, 4))
        then = _find(stored["minilm"]["rows"], method=method, bits=4, embedding_bits=8)
        now = parts.answers(loaded, calibration.sentiment().test).accuracy
        rows.append({"model": "minilm", "method": method, "bits": 4, "bytes": size, "now": now}
                    | {"when shipped": then["movies"]})  # fmt: skip
    results.table("now", rows)
    results.save()


def _find(rows: list[calibration.Row], **wanted: Any) -> calibration.Row:
    return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))


def write_card(results: dict[str, Any]) -> None:
    """The card, with the figures of the results file."""
    lines = []
    for row in results["minilm"]["rows"]:
        shares = [row.get(f"{domain}_retained") for domain in ("movies", "amazon", "tweets")]
        kept = " | ".join("–" if share is None else f"{share:.1%}" for share in shares)
        bits = f"{row['bits']} bits, embeddings {row['embedding_bits']}"
        lines.append(f"| {bits} | {row['method']} | {row['stored_bytes']:,} | {kept} |")
    text = CARD.format(
        sentences=sum(calibration.CANDIDATES[calibration.best_candidate(results["calibration"]["rows"])]),
        windows=calibration.WINDOWS,
        rows="\n".join(lines),
    )
    write_atomically(assets.FOLDER / "cards" / "quantization_llm.md", text)


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = parser(__doc__, parts=PARTS).parse_args()
    if arguments.quick:
        quick(arguments)
        return
    target = arguments.json or FILE
    for part in arguments.only:
        merge(target, part, PARTS[part]())
        build_manifest()  # later parts read the best calibration sentences
    if target == FILE and "minilm" in (results := read(target)):
        write_card(results)
        build_manifest()


if __name__ == "__main__":
    main()
