"""Predictions, accuracy and loss of a model on a split."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from course_lib import models
from course_lib.core import memory
from course_lib.data import Split

BATCH_SIZE = 64  # its activations fit the cache: faster than 256, with a quarter of the memory


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a model on a split, beside the right answers.

    Args:
        predictions, labels: int64 ``(N,)``.
        loss: mean cross entropy in nats.
        classes: one name per label.
    """

    predictions: Tensor
    labels: Tensor
    loss: float
    classes: tuple[str, ...] = ()

    @property
    def correct(self) -> Tensor:
        """Boolean ``(N,)``: which predictions are right."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Fraction of right predictions."""
        return self.correct.double().mean().item()

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the accuracy (Wilson, 1927)."""
        n, p, z = len(self.labels), self.accuracy, 1.959964
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return centre - half, centre + half

    def per_class(self) -> dict[str, float]:
        """Class name → accuracy on its examples; classes without examples are left out."""
        names = self.classes or tuple(str(label) for label in range(int(self.labels.max()) + 1))
        return {
            name: self.correct[self.labels == label].double().mean().item()
            for label, name in enumerate(names)
            if (self.labels == label).any()
        }


@torch.no_grad()
def predict_logits(model: nn.Module, split: Split, *, batch_size: int = BATCH_SIZE, progress: bool = False) -> Tensor:
    """Logits ``(N, classes)`` on the CPU, in the order of the split; computed in eval mode.

    Sentences are batched by length, so that little padding is computed.
    """
    device = next(model.parameters()).device
    order = split.shortest_first()
    batches = split.take(order).batches(batch_size)
    bar = tqdm(batches, total=math.ceil(len(split) / batch_size), desc="evaluate", leave=False, disable=not progress)
    with models.evaluating(model):
        logits = torch.cat([models.forward(model, models.to_device(inputs, device)).float().cpu() for inputs, _ in bar])
    memory.return_freed()
    return torch.empty_like(logits).index_copy_(0, order, logits)


def evaluate(model: nn.Module, split: Split, *, batch_size: int = BATCH_SIZE, progress: bool = False) -> Evaluation:
    """Accuracy, loss and every prediction of ``model`` on ``split``.

    Raises:
        ValueError: if the split is empty.
    """
    if len(split) == 0:
        raise ValueError(f"split {split.name!r} of {split.dataset} is empty; there is nothing to evaluate")
    return judge(predict_logits(model, split, batch_size=batch_size, progress=progress), split)


def judge(logits: Tensor, split: Split) -> Evaluation:
    """As ``evaluate``, for logits ``(N, classes)`` that another runtime computed, in the order of the split."""
    loss = F.cross_entropy(logits, split.labels).item()
    return Evaluation(logits.argmax(dim=1), split.labels, loss, split.classes)
