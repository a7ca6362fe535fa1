"""The train, validation and test splits of a data set; nothing may learn from test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from course_lib.core.validation import check_choice, check_positive
from course_lib.data.inputs import Augmentation, Inputs, augment_images, group_by_length, join_inputs, model_inputs

SPLIT_NAMES = ("train", "validation", "test")


class TestSplitError(RuntimeError):
    """Something tried to learn from the test split."""

    __test__ = False  # pytest collects classes whose name starts with Test


@dataclass(frozen=True)
class Split:
    """One part of a data set, held in memory.

    Args:
        dataset: its name, for example ``"fashion_mnist"``.
        name: ``"train"``, ``"validation"`` or ``"test"``.
        inputs: images as uint8 ``(N, H, W)`` or ``(N, C, H, W)``, or a dict of token tensors ``(N, L)``, or
            any float tensor ``(N, …)``, which is passed to the model unchanged.
        labels: int64 ``(N,)``.
        classes: one name per label.
        texts: the sentences that the tokens encode, if any.
        upscale: factor by which images are enlarged for the model.
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
        return self._prepare(self._rows(rows)), self.labels[rows]

    def __repr__(self) -> str:
        return f"Split({self.dataset}/{self.name}, {len(self):,} examples, {len(self.classes)} classes)"

    def batches(
        self, batch_size: int = 256, *, shuffle: bool = False, augment: bool | Augmentation = False, seed: int = 0
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield ``(inputs, labels)`` as the models take them: float images ``(B, 3, H, W)`` or token dicts.

        Args:
            augment: whether images are augmented, or how (``True`` means ``Augmentation()``).

        Raises:
            TestSplitError: if the test split is to be shuffled or augmented.
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
            inputs = self._rows(rows)
            if augment and isinstance(inputs, Tensor) and inputs.dtype == torch.uint8:
                options = Augmentation() if augment is True else augment
                inputs = augment_images(inputs, generator, options.shift, options.hole)
            yield self._prepare(inputs), self.labels[rows]

    def subset(self, size: int, seed: int = 0) -> Split:
        """A fixed random part of this split with at most ``size`` examples, under the same split name."""
        check_positive("size", size)
        return self.take(torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:size].sort().values)

    def take(self, rows: Tensor) -> Split:
        """The examples with these indices, in this order, under the same split name."""
        texts = tuple(self.texts[row] for row in rows.tolist()) if self.texts else ()
        return replace(self, inputs=self._rows(rows), labels=self.labels[rows], texts=texts)

    def shortest_first(self) -> Tensor:
        """Indices from the shortest sentence to the longest, so that batches need little padding."""
        if isinstance(self.inputs, Mapping):
            return self.inputs["attention_mask"].sum(dim=1).argsort(stable=True)
        return torch.arange(len(self))

    def example(self, batch_size: int = 1) -> Inputs:
        """The first ``batch_size`` inputs as a model takes them, for timing and tracing."""
        return next(self.batches(batch_size))[0]

    def _rows(self, rows: Tensor) -> Inputs:
        if isinstance(self.inputs, Mapping):
            return {key: value[rows] for key, value in self.inputs.items()}
        return self.inputs[rows]

    def _prepare(self, inputs: Inputs) -> Inputs:
        return model_inputs(inputs, self.upscale)


def flatten_images(split: Split) -> Split:
    """Grey images ``(N, H, W)`` as float vectors ``(N, H * W)`` in [-1, 1], as LeNet-300-100 takes them."""
    if not isinstance(split.inputs, Tensor) or split.inputs.dtype != torch.uint8 or split.inputs.dim() != 3:
        raise ValueError(f"split must hold grey uint8 images (N, H, W); {split!r} does not")
    return replace(split, inputs=split.inputs.flatten(1).float().div_(127.5).sub_(1.0), upscale=1)


def join(splits: Sequence[Split]) -> Split:
    """The examples of several splits as one, in their order; sentences are padded to the longest.

    Raises:
        ValueError: if there is none, or they differ in name, classes or upscale: test must not be mixed with others.
    """
    if not splits or len({(split.name, split.classes, split.upscale) for split in splits}) != 1:
        raise ValueError(f"splits must be one or more of one name, classes and upscale, got {list(splits)}")
    inputs = join_inputs([split.inputs for split in splits])
    texts = tuple(text for split in splits for text in split.texts)
    labels = torch.cat([split.labels for split in splits])
    dataset = " + ".join(dict.fromkeys(split.dataset for split in splits))
    return Split(
        dataset, splits[0].name, inputs, labels, splits[0].classes, texts if len(texts) == len(labels) else (),
        splits[0].upscale,
    )  # fmt: skip


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set."""

    train: Split
    validation: Split
    test: Split

    @property
    def classes(self) -> tuple[str, ...]:
        """One name per label."""
        return self.train.classes


def refuse_test(split: Split | None, purpose: str) -> None:
    """Raise ``TestSplitError`` if ``split`` is the test split; every function that learns calls this first."""
    if split is not None and getattr(split, "name", None) == "test":
        raise TestSplitError(
            f"the test split of {split.dataset} must not be {purpose}; use splits.train or splits.validation"
        )
