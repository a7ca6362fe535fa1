"""Fine-tuning of a factored model, to recover what the truncation lost."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models, training
from course_lib.core.validation import check_fraction, check_positive
from course_lib.data import Split
from course_lib.lowrank.factorization import LowRankResult
from course_lib.training.losses import distillation_loss


def fine_tune(
    result: LowRankResult,
    train: Split,
    validation: Split | None = None,
    *,
    original: nn.Module | None = None,
    epochs: int,
    learning_rate: float,
    loss: training.Loss | None = None,
    **fit_options: Any,
) -> LowRankResult:
    """A copy of ``result`` after ``epochs`` of training with the same ranks.

    Args:
        original: the model before factorization; if given, the loss is ``match_original(original)``.
        fit_options: passed on to ``training.fit``: ``optimizer``, ``precision``, ``augment``, ``checkpoint``, ….

    Raises:
        TestSplitError: if either split is the test split.
        ValueError: if both ``original`` and ``loss`` are given, or an argument of ``training.fit`` is out of range.
    """
    if original is not None and loss is not None:
        raise ValueError("loss and original must not both be given: original stands for the loss that matches it")
    objective = match_original(original) if original is not None else loss
    tuned = copy.deepcopy(result.model)
    history = training.fit(
        tuned, train, validation, epochs=epochs, learning_rate=learning_rate, loss=objective, **fit_options
    )
    return LowRankResult(tuned, result.plan, result.before, history)


def match_original(original: nn.Module, share: float = 0.7, temperature: float = 4.0) -> training.Loss:
    """Distillation loss with ``original`` as the teacher: ``share`` is the weight of its soft targets (alpha).

    Raises:
        ValueError: if ``share`` is outside [0, 1] or ``temperature`` is not positive.

    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    check_fraction("share", share, below_one=False)
    check_positive("temperature", temperature)
    teacher = copy.deepcopy(original).eval()

    def loss(model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
        with torch.no_grad():
            targets = models.forward(teacher, inputs)
        return distillation_loss(models.forward(model, inputs), targets, labels, share, temperature)[0]

    return loss
