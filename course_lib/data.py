"""The data of the course: shipped splits, and bigger data sets on request.

Splits are sacred. Training, tuning and calibration use ``train`` or ``validation``; ``test`` is only for the
number that is reported, and refuses to be shuffled or handed to a function that learns from it.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor
from torch.nn import functional as F

from course_lib import assets
from course_lib.arguments import check_choice, check_positive

Inputs = Tensor | dict[str, Tensor]

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SENTIMENT_CLASSES = ("negative", "positive")
SENTIMENT_DOMAINS = ("movies", "amazon", "tweets")
SPLIT_NAMES = ("train", "validation", "test")
MAX_TOKENS = 64


class TestSplitError(RuntimeError):
    """Something tried to learn from the test split."""

    __test__ = False  # not a test class, whatever its name starts with


@dataclass(frozen=True)
class Split:
    """One part of a data set, held in memory.

    Args:
        dataset: name of the data set, for example ``"fashion_mnist"``.
        name: ``"train"``, ``"validation"`` or ``"test"``.
        inputs: images as uint8 ``(N, H, W)`` or ``(N, C, H, W)``, or a dict of token tensors ``(N, L)``, or
            any float tensor whose first dimension counts the examples (passed to the model unchanged).
        labels: int64 ``(N,)``.
        classes: one name per label.
        texts: the sentences behind the tokens, if there are any.
        upscale: factor by which images are enlarged before the model sees them.
    """

    dataset: str
    name: str
    inputs: Inputs
    labels: Tensor
    classes: tuple[str, ...]
    texts: tuple[str, ...] = field(default=(), repr=False)
    upscale: int = 1

    def __post_init__(self) -> None:
        check_choice("name", self.name, SPLIT_NAMES)
        tensors = self.inputs.values() if isinstance(self.inputs, Mapping) else [self.inputs]
        for tensor in tensors:
            if len(tensor) != len(self.labels):
                raise ValueError(f"inputs have {len(tensor)} examples but labels have {len(self.labels)}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Inputs, Tensor]:
        rows = torch.tensor([range(len(self))[index]])
        return self._prepare(self._rows(rows), augment=None), self.labels[rows]

    def __repr__(self) -> str:
        return f"Split({self.dataset}/{self.name}, {len(self):,} examples, {len(self.classes)} classes)"

    def batches(
        self, batch_size: int = 256, *, shuffle: bool = False, augment: bool = False, seed: int = 0
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield ``(inputs, labels)`` as the models take them: float images ``(B, 3, H, W)`` or token dicts.

        Raises:
            TestSplitError: if the test split is asked for in shuffled or augmented order.
        """
        check_positive("batch_size", batch_size)
        if shuffle or augment:
            refuse_test(self, "shuffled or augmented (which is what training does)")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator) if shuffle else torch.arange(len(self))
        batches = list(order.split(batch_size))
        if shuffle and isinstance(self.inputs, Mapping):
            batches = group_by_length(order, self.inputs["attention_mask"].sum(dim=1), batch_size, generator)
        for rows in batches:
            yield self._prepare(self._rows(rows), generator if augment else None), self.labels[rows]

    def subset(self, size: int, seed: int = 0) -> Split:
        """A fixed random part of this split with at most ``size`` examples, under the same split name."""
        check_positive("size", size)
        return self.take(torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:size].sort().values)

    def take(self, rows: Tensor) -> Split:
        """The examples with these numbers, in this order, under the same split name."""
        texts = tuple(self.texts[row] for row in rows.tolist()) if self.texts else ()
        return replace(self, inputs=self._rows(rows), labels=self.labels[rows], texts=texts)

    def shortest_first(self) -> Tensor:
        """Rows from the shortest sentence to the longest, so that batches hold little padding; else as they stand."""
        if isinstance(self.inputs, Mapping):
            return self.inputs["attention_mask"].sum(dim=1).argsort(stable=True)
        return torch.arange(len(self))

    def example(self, batch_size: int = 1) -> Inputs:
        """The first ``batch_size`` inputs, as a model takes them (for timing and tracing)."""
        inputs, _ = next(self.batches(batch_size))
        return inputs

    def _rows(self, rows: Tensor) -> Inputs:
        if isinstance(self.inputs, Mapping):
            return {key: value[rows] for key, value in self.inputs.items()}
        return self.inputs[rows]

    def _prepare(self, inputs: Inputs, augment: torch.Generator | None) -> Inputs:
        if isinstance(inputs, Mapping):
            return trim_padding(inputs)
        if inputs.dtype != torch.uint8:
            return inputs
        if augment is not None:
            inputs = augment_images(inputs, augment)
        return prepare_images(inputs, self.upscale)


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set."""

    train: Split
    validation: Split
    test: Split

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes


def refuse_test(split: Split, purpose: str) -> None:
    """Raise ``TestSplitError`` if ``split`` is the test split; every function that learns calls this first."""
    if getattr(split, "name", None) == "test":
        raise TestSplitError(
            f"the test split of {split.dataset} must not be {purpose}; use splits.train or splits.validation"
        )


def prepare_images(images: Tensor, upscale: int = 1) -> Tensor:
    """Turn uint8 images ``(B, H, W)`` or ``(B, C, H, W)`` into float ``(B, 3, H * upscale, W * upscale)``.

    Grey images are repeated to three channels; values are scaled to about [-1, 1].
    """
    images = images.unsqueeze(1) if images.dim() == 3 else images
    values = images.float().div_(127.5).sub_(1.0)
    if upscale != 1:
        values = F.interpolate(values, scale_factor=upscale, mode="bilinear", align_corners=False)
    return values.expand(-1, 3, -1, -1).contiguous() if values.shape[1] == 1 else values


def augment_images(images: Tensor, generator: torch.Generator, shift: int = 2, hole: int = 8) -> Tensor:
    """Flip, shift by up to ``shift`` pixels, and blank one ``hole`` × ``hole`` square in half of the images.

    Source of the blank square: DeVries and Taylor, Improved Regularization with Cutout, 2017.
    """
    batch, height, width = len(images), images.shape[-2], images.shape[-1]

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (batch, 1), generator=generator)

    columns = torch.arange(width).expand(batch, -1)
    columns = torch.where(draw(0, 2).bool(), width - 1 - columns, columns) + draw(-shift, shift + 1)
    rows = torch.arange(height).expand(batch, -1) + draw(-shift, shift + 1)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    top, left, use = draw(0, height), draw(0, width), draw(0, 2).bool()
    in_hole = ((rows - top).abs() <= hole // 2)[:, :, None] & ((columns - left).abs() <= hole // 2)[:, None, :]
    keep = inside & ~(in_hole & use[:, :, None])
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    planes = images.reshape(batch, -1, height * width)
    moved = planes.gather(2, flat.reshape(batch, 1, -1).expand_as(planes))
    return (moved * keep.reshape(batch, 1, -1)).reshape(images.shape)


def group_by_length(order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Batches of rows in shuffled order whose sentences are about equally long, so that little padding is computed.

    Rows are sorted by length within pools of 16 batches, and the batches of a pool are shuffled again.
    """
    batches: list[Tensor] = []
    for pool in order.split(16 * batch_size):
        sorted_batches = pool[lengths[pool].argsort(stable=True)].split(batch_size)
        places = torch.randperm(len(sorted_batches), generator=generator).tolist()
        batches += [sorted_batches[place] for place in places]
    return batches


def trim_padding(tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut token tensors ``(B, L)`` to the longest sentence of the batch."""
    length = int(tokens["attention_mask"].sum(dim=1).max())
    return {key: value[:, :length] for key, value in tokens.items()}


def tokenizer() -> Any:
    """The WordPiece tokenizer that belongs to the shipped MiniLM."""
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(assets.path("minilm_vocab").parent, local_files_only=True)


def tokenize(texts: list[str], max_tokens: int = MAX_TOKENS) -> dict[str, Tensor]:
    """Token ids and attention mask ``(N, L)`` of sentences, padded to the longest and cut at ``max_tokens``."""
    tokens = tokenizer()(
        texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt", return_token_type_ids=False
    )
    return {key: tokens[key] for key in ("input_ids", "attention_mask")}


def load(name: str, *, domain: str = "movies", root: str | Path | None = None, download: bool = True) -> Splits:
    """Load a data set by name.

    Args:
        name: ``"fashion_mnist"`` and ``"sentiment"`` are shipped; ``"cifar10"``, ``"fashion_mnist_full"`` and
            ``"imagenette"`` are fetched by torchvision into ``root``.
        domain: for ``sentiment``: ``"movies"``, ``"amazon"`` or ``"tweets"``.

    Raises:
        ValueError: if the name or domain is unknown.
        AssetError: if a shipped file is missing or damaged.
        ConnectionError: if a data set has to be fetched and the network is not there.
    """
    check_choice("name", name, ("fashion_mnist", "sentiment", *_TORCHVISION_SETS))
    if name == "fashion_mnist":
        return _load_fashion_mnist()
    if name == "sentiment":
        return _load_sentiment(check_choice("domain", domain, SENTIMENT_DOMAINS))
    return _load_torchvision(name, root, download)


def _load_fashion_mnist() -> Splits:
    tensors = load_safetensors(lzma.decompress(assets.path("fashion_mnist").read_bytes()))

    def split(name: str) -> Split:
        images, labels = tensors[f"{name}.images"], tensors[f"{name}.labels"].long()
        return Split("fashion_mnist", name, images, labels, FASHION_CLASSES, upscale=2)

    return Splits(*(split(name) for name in SPLIT_NAMES))


def sentences() -> dict[tuple[str, str], tuple[str, ...]]:
    """(domain, split) → the shipped sentences of it, as plain text."""
    texts: dict[tuple[str, str], list[str]] = {}
    for row in _sentence_rows():
        texts.setdefault((row["domain"], row["split"]), []).append(row["text"])
    return {key: tuple(lines) for key, lines in texts.items()}


def _sentence_rows() -> list[dict[str, str]]:
    import csv

    with assets.path("sentiment").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def _load_sentiment(domain: str) -> Splits:
    rows = [row for row in _sentence_rows() if row["domain"] == domain]

    def split(name: str) -> Split:
        chosen = [row for row in rows if row["split"] == name]
        texts = [row["text"] for row in chosen]
        labels = torch.tensor([float(row["mean_rating"]) > 0 for row in chosen]).long()
        return Split(f"sentiment/{domain}", name, tokenize(texts), labels, SENTIMENT_CLASSES, texts=tuple(texts))

    return Splits(*(split(name) for name in SPLIT_NAMES))


_TORCHVISION_SETS = ("cifar10", "fashion_mnist_full", "imagenette")


def _load_torchvision(name: str, root: str | Path | None, download: bool) -> Splits:
    folder = Path(root) if root is not None else assets.cache_folder() / "data"
    try:
        train_images, train_labels, classes = _torchvision_tensors(name, folder, True, download)
        test_images, test_labels, _ = _torchvision_tensors(name, folder, False, download)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"data set {name!r} is not in {folder} and could not be fetched ({error}); "
            "connect to the network once, or use the shipped 'fashion_mnist'"
        ) from error
    order = torch.randperm(len(train_labels), generator=torch.Generator().manual_seed(0))
    held_out = max(1, len(order) // 20)
    upscale = 2 if name == "fashion_mnist_full" else 1

    def split(part: str, images: Tensor, labels: Tensor) -> Split:
        return Split(name, part, images, labels, classes, upscale=upscale)

    rows, validation_rows = order[held_out:], order[:held_out]
    return Splits(
        split("train", train_images[rows], train_labels[rows]),
        split("validation", train_images[validation_rows], train_labels[validation_rows]),
        split("test", test_images, test_labels),
    )


def _torchvision_tensors(
    name: str, folder: Path, train: bool, download: bool
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    from torchvision import datasets
    from torchvision.transforms import v2

    if name == "imagenette":
        resize = v2.Compose([v2.Resize(128), v2.CenterCrop(128), v2.PILToTensor()])
        part = datasets.Imagenette(str(folder), "train" if train else "val", "160px", download, transform=resize)
        pairs = [part[index] for index in range(len(part))]
        images = torch.stack([image.expand(3, -1, -1) for image, _ in pairs])
        return images, torch.tensor([label for _, label in pairs]), tuple(names[0] for names in part.classes)
    maker = datasets.CIFAR10 if name == "cifar10" else datasets.FashionMNIST
    whole: Any = maker(str(folder), train=train, download=download)
    pixels = torch.as_tensor(whole.data)
    images = pixels.permute(0, 3, 1, 2).contiguous() if pixels.dim() == 4 else pixels
    return images, torch.as_tensor(whole.targets).long(), tuple(whole.classes)
