"""Distillation targets: the logits of the teacher for each example, computed once and cached."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from course_lib import training
from course_lib.architectures.weighted_layers import check_plain_weights
from course_lib.core.atomic_write import write_atomically
from course_lib.data import Split, join_inputs, refuse_test
from course_lib.training.evaluation import BATCH_SIZE


def frozen(teacher: nn.Module) -> nn.Module:
    """A frozen copy of ``teacher`` in eval mode, or ``teacher`` itself if it is frozen and in eval mode already.

    Warns if ``teacher`` was in training mode.
    """
    if not any(part.training for part in teacher.modules()) and not any(p.requires_grad for p in teacher.parameters()):
        return teacher
    if teacher.training:
        warnings.warn(
            "the teacher was in training mode, where dropout and BatchNorm make its answers noisy; a copy of it in "
            "eval mode is used",
            stacklevel=3,
        )
    try:
        return copy.deepcopy(teacher).eval().requires_grad_(False)
    except RuntimeError:
        check_plain_weights(teacher)  # a mask of torch.nn.utils.prune makes a weight that cannot be copied
        raise


def teacher_logits(
    teacher: nn.Module,
    split: Split,
    *,
    cache: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
) -> Tensor:
    """Logits of the teacher ``(N, classes)`` on the examples of ``split``, without augmentation.

    Args:
        cache: file to store them in; it is read again only for the same weights and the same examples.

    Raises:
        TestSplitError: if it is the test split, which a student must not learn from.
    """
    refuse_test(split, "answered by a teacher for a student to learn from")
    if len(split) == 0:
        raise ValueError(f"split {split.name!r} of {split.dataset} is empty; there is nothing to learn from")
    fingerprint = _fingerprint(teacher, split) if cache is not None else ""
    if cache is not None and Path(cache).exists():
        kept = load_file(cache)
        if fingerprint in kept:
            return kept[fingerprint]
    logits = training.predict_logits(teacher, split, batch_size=batch_size, progress=progress)
    if cache is not None:
        write_atomically(cache, save({fingerprint: logits}))
    return logits


def joined(labelled: Split | None, transfer: Split | None) -> tuple[Split, Tensor]:
    """One split of labelled examples followed by unlabelled ones, and a boolean ``(N,)``: which labels may be used.

    The labels of ``transfer`` are replaced by zeros.

    Raises:
        ValueError: if both are missing or empty, or one holds images and the other tokens.
        TestSplitError: if one of them is the test split.
    """
    given = ((labelled, True), (transfer, False))
    pairs = [(part, with_labels) for part, with_labels in given if part is not None and len(part)]
    parts = [part for part, _ in pairs]
    if not parts:
        raise ValueError("there is nothing to learn from: give labelled examples, transfer examples, or both")
    for part in parts:
        refuse_test(part, "learned from")
    labelled_rows = torch.cat([torch.full((len(part),), with_labels) for part, with_labels in pairs])
    labels = torch.cat([part.labels if with_labels else torch.zeros_like(part.labels) for part, with_labels in pairs])
    texts = tuple(text for part in parts for text in part.texts)
    inputs = join_inputs([part.inputs for part in parts])
    return replace(parts[0], inputs=inputs, labels=labels, texts=texts), labelled_rows


def as_split(loader: Split | Iterable[Any]) -> Split:
    """A loader's batches ``(inputs, labels)`` or ``{…, "labels": …}`` as one split in memory; a split is returned.

    Raises:
        ValueError: if the loader is empty, or a batch has another form.
    """
    if isinstance(loader, Split):
        return loader
    pairs = [_pair(batch) for batch in loader]
    if not pairs:
        raise ValueError("the loader is empty; there is nothing to learn from")
    labels = torch.cat([labels for _, labels in pairs])
    inputs = join_inputs([inputs for inputs, _ in pairs])
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return Split("loader", "train", inputs, labels, classes)


def _pair(batch: Any) -> tuple[Any, Tensor]:
    if isinstance(batch, Mapping) and "labels" in batch:
        return {key: value for key, value in batch.items() if key != "labels"}, batch["labels"]
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return batch[0], batch[1]
    raise ValueError(f"a batch must be (inputs, labels) or a mapping with 'labels', got {type(batch).__name__}")


def _settings(module: nn.Module) -> dict[str, Any]:
    """Plain attributes of a module, without its mode."""
    plain = {key: value for key, value in vars(module).items() if isinstance(value, bool | int | float | str)}
    return {key: value for key, value in plain.items() if key != "training"}


def _fingerprint(teacher: nn.Module, split: Split) -> str:
    """A hash of all weights and examples, and of the classes and settings of all modules."""
    digest = hashlib.sha256()
    for name, module in teacher.named_modules():
        kind, settings = type(module), sorted((key, repr(value)) for key, value in _settings(module).items())
        code = getattr(kind.forward, "__code__", None)
        facts = (name, kind.__module__, kind.__qualname__, getattr(code, "co_code", b""), module.extra_repr(), settings)
        digest.update(repr(facts).encode())
    inputs = split.inputs.values() if isinstance(split.inputs, Mapping) else [split.inputs]
    for tensor in [*teacher.state_dict().values(), *inputs]:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    digest.update(str(split.upscale).encode())
    return digest.hexdigest()
