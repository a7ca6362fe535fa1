"""The diagonal of the Fisher information: how much the loss suffers from an error of each weight, without labels.

For a small change δ of the weights, the divergence between the outputs before and after is ½ Σ F δ². The labels are
drawn from the model's own outputs, so that no example needs one.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import models
from course_lib.core.validation import check_positive
from course_lib.data import Split, refuse_test


def fisher_information(
    model: nn.Module,
    split: Split,
    names: Collection[str] | None = None,
    *,
    temperature: float = 1.0,
    batch_size: int = 16,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Name of a parameter → its Fisher diagonal per example, in the shape of the parameter.

    Labels are drawn from ``softmax(logits / temperature)``. The gradients of examples are then independent with mean
    zero, so the square of their sum over a batch has the mean of the sum of their squares: one backward pass a batch.

    Args:
        names: parameters; all by default.
        temperature: above 1 where the model is so sure of its answers that the gradients vanish.

    Raises:
        TestSplitError: if ``split`` is the test split.
        ValueError: if it is empty, or ``temperature`` is not positive.

    Source: Kunstner, Balles and Hennig, Limitations of the Empirical Fisher Approximation, 2019 (drawn labels).
    """
    refuse_test(split, "used to measure sensitivity")
    check_positive("temperature", temperature)
    if len(split) == 0:
        raise ValueError(f"split must hold at least one example, but {split.dataset}/{split.name} is empty")
    generator = torch.Generator().manual_seed(seed)
    parameters = {n: p for n, p in model.named_parameters() if names is None or n in names}
    fisher = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    with models.evaluating(model):
        for inputs, _ in split.batches(batch_size):
            loss = _loss_of_drawn_labels(models.forward(model, inputs) / temperature, generator)
            gradients = torch.autograd.grad(loss, list(parameters.values()))
            for total, gradient in zip(fisher.values(), gradients, strict=True):
                total += gradient.square()
    return {name: total / len(split) for name, total in fisher.items()}


def _loss_of_drawn_labels(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Cross entropy summed over the batch, with labels drawn from ``softmax(logits)``."""
    probabilities = logits.detach().softmax(dim=1)
    labels = torch.multinomial(probabilities, 1, generator=generator).flatten()
    return F.cross_entropy(logits, labels, reduction="sum")
