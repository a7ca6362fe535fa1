"""Data sets by name: shipped ones, and larger ones on request."""

from __future__ import annotations

import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from course_lib import assets
from course_lib.core.validation import check_choice
from course_lib.data.sentiment import SENTIMENT_DOMAINS, load_sentiment
from course_lib.data.splits import SPLIT_NAMES, Split, Splits

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_TORCHVISION_SETS = ("cifar10", "fashion_mnist_full", "imagenette")


def load(name: str, *, domain: str = "movies", root: str | Path | None = None, download: bool = True) -> Splits:
    """Load a data set by name.

    Args:
        name: ``"fashion_mnist"`` and ``"sentiment"`` are shipped; ``"cifar10"``, ``"fashion_mnist_full"`` and
            ``"imagenette"`` are downloaded by torchvision into ``root``.
        domain: for ``sentiment``: ``"movies"``, ``"amazon"`` or ``"tweets"``.

    Raises:
        ValueError: if the name or domain is unknown.
        AssetError: if a shipped file is missing or damaged.
        ConnectionError: if a data set must be downloaded and cannot be.
    """
    check_choice("name", name, ("fashion_mnist", "sentiment", *_TORCHVISION_SETS))
    if name == "fashion_mnist":
        return _load_fashion_mnist()
    if name == "sentiment":
        return load_sentiment(check_choice("domain", domain, SENTIMENT_DOMAINS))
    return _load_torchvision(name, root, download)


def _load_fashion_mnist() -> Splits:
    tensors = load_safetensors(lzma.decompress(assets.path("fashion_mnist").read_bytes()))

    def split(name: str) -> Split:
        images, labels = tensors[f"{name}.images"], tensors[f"{name}.labels"].long()
        return Split("fashion_mnist", name, images, labels, FASHION_CLASSES, upscale=2)

    return Splits(*(split(name) for name in SPLIT_NAMES))


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
    train = Split(name, "train", train_images, train_labels, classes, upscale=upscale)
    validation = replace(train.take(order[:held_out]), name="validation")
    test = replace(train, name="test", inputs=test_images, labels=test_labels)
    return Splits(train.take(order[held_out:]), validation, test)


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
