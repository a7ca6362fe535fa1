"""What a review looks at: the model, its data, what is planned, and measurements that several rules share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib import models, pruning, quantization, training
from course_lib.data import Split, Splits
from course_lib.pipeline import Pipeline
from course_lib.quantization import Scheme
from course_lib.training import Evaluation

if TYPE_CHECKING:
    import pandas

SCANNED = 64  # examples for the scan of every layer
WIDTHS = (2, 4, 8)
PROBE = Scheme(4)  # the compression that damage is measured with if there is no compressed model yet


@dataclass(frozen=True)
class Case:
    """A model under review.

    Args:
        model: the model to be compressed.
        splits: its data; rules read validation, and look into train and test for leaks only.
        domains: name → further examples of other origin.
        calibration: examples that are meant for calibration; None for a sample of train.
        compressed: the model after compression, if there is one already.
        plan: the pipeline that is planned, if there is one.
        examples: of validation that are evaluated at most.
    """

    model: nn.Module
    splits: Splits
    domains: Mapping[str, Split] = field(default_factory=dict)
    calibration: Split | None = None
    compressed: nn.Module | None = None
    plan: Pipeline | None = None
    examples: int = 600

    @cached_property
    def validation(self) -> Split:
        """The examples on which accuracies are measured."""
        return self.splits.validation.subset(self.examples)

    @cached_property
    def scanned(self) -> Split:
        """The examples on which every layer is scanned."""
        return self.splits.validation.subset(SCANNED)

    @cached_property
    def before(self) -> Evaluation:
        """The model as it is, on ``validation``."""
        return training.evaluate(self.model, self.validation)

    @cached_property
    def damaged(self) -> nn.Module:
        """The compressed model, or a copy of the model in 4 bits, whose damage stands for it."""
        return self.compressed if self.compressed is not None else quantization.quantize_weights(self.model, PROBE)

    @property
    def damaged_name(self) -> str:
        """What ``damaged`` is, in words."""
        return "the compressed model" if self.compressed is not None else "a copy in 4 bits"

    @cached_property
    def after(self) -> Evaluation:
        """``damaged`` on ``validation``."""
        return training.evaluate(self.damaged, self.validation)

    @cached_property
    def sensitivity(self) -> pandas.DataFrame:
        """Damage of each layer alone at 2, 4 and 8 bits (see ``quantization.bit_sensitivity``)."""
        return quantization.bit_sensitivity(self.model, self.scanned, WIDTHS, progress=False)

    @cached_property
    def scanned_outputs(self) -> Tensor:
        """Log-probabilities of the model on ``scanned``."""
        return training.predict_logits(self.model, self.scanned).log_softmax(dim=1)

    @property
    def sparsity(self) -> float:
        """Sparsity of the compressed model, or of the model if there is none."""
        return pruning.sparsity(self.compressed if self.compressed is not None else self.model)

    @cached_property
    def example(self) -> Any:
        """One input, for timing."""
        return self.splits.validation.example(1)

    @cached_property
    def layer_names(self) -> list[str]:
        """Convolutions and linear layers."""
        return list(models.prunable_layers(self.model))


def mean_interval(values: Tensor, z: float = 1.96) -> tuple[float, float, float]:
    """Mean of ``values`` and its normal interval.

    Args:
        values: one per example, such as the difference of two answers.
        z: 1.96 for 95 %, 2.81 for 99.5 % (one of ten comparisons).
    """
    values = values.double()
    mean = values.mean().item()
    half = z * values.std(correction=1).item() / math.sqrt(len(values)) if len(values) > 1 else float("inf")
    return mean, mean - half, mean + half


def correct(evaluation: Evaluation) -> Tensor:
    """1 where the answer is right, else 0."""
    return evaluation.correct.double()


def evaluate(model: nn.Module, split: Split) -> Evaluation:
    """``training.evaluate`` without a progress bar."""
    with torch.no_grad():
        return training.evaluate(model, split)
