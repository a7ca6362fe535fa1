"""What exercise 09 is about, done right: the references that its checks compare with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.distillation import distillation_loss, hidden_state_loss

Batch = tuple[Tensor, Tensor]


def limit_gradient(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Gradient of the soft-target loss at infinite temperature (Hinton et al., 2015, section 2.1)."""

    def centred(logits: Tensor) -> Tensor:
        return logits - logits.mean(dim=1, keepdim=True)

    return (centred(student_logits) - centred(teacher_logits)) / student_logits.numel()


def feature_loss(linear: nn.Linear, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference over real tokens, after the student was brought to the teacher's width."""
    return hidden_state_loss(linear(student), teacher, mask)


def train_epoch(
    teacher: nn.Module,
    student: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    alpha: float,
    temperature: float,
) -> float:
    """One epoch of distillation; the mean of the losses of its batches."""
    teacher.eval()
    student.train()
    losses = []
    for inputs, labels in batches:
        with torch.no_grad():
            targets = teacher(inputs)
        loss, _, _ = distillation_loss(student(inputs), targets, labels, alpha, temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def soft_by_hand(logits: Tensor, temperature: float) -> Tensor:
    """Softened probabilities, in the precision of the logits."""
    return F.softmax(logits / temperature, dim=-1)
