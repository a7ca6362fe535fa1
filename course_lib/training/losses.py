"""Knowledge-distillation losses on logits, for every technique that trains a model towards another one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.core.validation import check_fraction, check_positive


def soft_targets(logits: Tensor, temperature: float) -> Tensor:
    """``softmax(logits / temperature)``, ``(B, classes)``: class probabilities, softened by a temperature above 1.

    Raises:
        ValueError: if ``temperature`` is not greater than 0.

    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    check_positive("temperature", temperature)
    return F.softmax(_at_least_fp32(logits) / temperature, dim=-1)


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """``T² · mean over the batch of KL(teacher ‖ student)``, both softened by ``temperature``, in nats.

    The mean is over examples (``batchmean``), not over all entries. T² compensates for the gradient, which shrinks as
    1/T², so that ``alpha`` means the same at every temperature. Logits are ``(B, classes)``; those of the teacher get
    no gradient.

    Raises:
        ValueError: if ``temperature`` is not greater than 0, or the shapes differ.

    Source: Hinton, Vinyals and Dean, 2015, section 2.
    """
    check_positive("temperature", temperature)
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student and teacher must answer with the same classes for the same examples: student_logits are "
            f"{tuple(student_logits.shape)}, teacher_logits {tuple(teacher_logits.shape)}"
        )
    targets = soft_targets(teacher_logits.detach(), temperature)
    log_probabilities = F.log_softmax(_at_least_fp32(student_logits) / temperature, dim=-1)
    masked = (targets == 0) & (log_probabilities == -torch.inf)  # a class that both mask counts as 0, not as NaN
    return F.kl_div(log_probabilities.masked_fill(masked, 0.0), targets, reduction="batchmean") * temperature**2


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``KL(p ‖ q)`` in nats, mean over the batch, of log probabilities ``(B, classes)``; a scalar.

    A class that ``p`` masks (log probability -∞) counts as 0, one that only ``q`` masks makes it infinite.
    """
    masked = log_p == -torch.inf
    log_p, log_q = log_p.masked_fill(masked, 0.0), log_q.masked_fill(masked, 0.0)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, alpha: float = 0.7, temperature: float = 4.0
) -> tuple[Tensor, Tensor, Tensor]:
    """``alpha · soft + (1 - alpha) · task``, and its two parts, soft-target loss and cross entropy: three scalars.

    Args:
        labels: int64 ``(B,)``.
        alpha: weight of the teacher, in [0, 1].

    Raises:
        ValueError: if ``alpha`` or ``temperature`` is out of range, or the shapes differ.
    """
    check_fraction("alpha", alpha, below_one=False)
    soft = soft_target_loss(student_logits, teacher_logits, temperature)
    task = F.cross_entropy(_at_least_fp32(student_logits), labels)
    return alpha * soft + (1 - alpha) * task, soft, task


def _at_least_fp32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
