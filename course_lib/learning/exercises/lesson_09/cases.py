"""Inputs of exercise 09.5: a teacher, a student and three batches, small enough to train in a check."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Distillation:
    """A teacher in training mode, a student in eval mode, both with BatchNorm, and three batches of different size."""

    teacher: nn.Module
    student: nn.Module
    batches: list[tuple[Tensor, Tensor]]

    @classmethod
    def drawn(cls, generator: torch.Generator) -> Distillation:
        """Random networks and batches."""
        sizes = ((6, 8, 3), (6, 4, 3))
        teacher, student = (_network(*size, generator) for size in sizes)
        batches = [
            (torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator))
            for size in (5, 3, 8)
        ]
        return cls(teacher.train(), student.eval(), batches)

    def networks(self) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
        """Copies of both, and an optimizer of the student's copy, which has gradients of an earlier step."""
        teacher, student = copy.deepcopy(self.teacher), copy.deepcopy(self.student)
        for parameter in student.parameters():
            parameter.grad = torch.ones_like(parameter)
        return teacher, student, torch.optim.SGD(student.parameters(), lr=0.1)


@torch.no_grad()
def _network(inputs: int, hidden: int, classes: int, generator: torch.Generator) -> nn.Module:
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes))
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network
