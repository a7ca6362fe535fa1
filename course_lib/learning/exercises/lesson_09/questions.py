"""Checks and probes of exercise 09, distillation: soft targets, the loss, its limit, features, a repaired loop."""

from __future__ import annotations

from typing import Any

import torch

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_09.cases import Distillation
from course_lib.learning.exercises.lesson_09.expectations import (
    expect_epoch,
    expect_example,
    expect_feature_loss,
    expect_limit,
    expect_loss,
    expect_soft,
    feature_module,
    filled_like,
)
from course_lib.learning.expect import as_float, cases, expect, expect_raises, expect_unchanged
from course_lib.learning.questions import probe, question

EXCLUDED = ("course_lib.distillation",)


@question("09.1")
def check_soft_targets(answer: Answer) -> None:
    """Many temperatures, one class, large logits, and temperatures that are not positive."""
    for logits, temperature in cases(shapes=[(4, 10), (1, 3), (7, 2), (2, 1), (0, 5)], temperatures=[0.5, 1.0, 4, 100]):
        expect_soft(answer(logits, temperature), logits, temperature)
    expect_soft(answer(torch.tensor([[2.0, 0.0]]), 2), torch.tensor([[2.0, 0.0]]), 2)
    large = torch.tensor([[1000.0, 998.0, -1000.0], [-500.0, -500.0, -500.0]])
    for temperature in (1.0, 3.0):
        expect_soft(answer(large, temperature), large, temperature)
    expect_unchanged(answer, torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), 2.0)
    for temperature in (0, -1.0):
        advice = "a temperature must be greater than 0: raise ValueError"
        expect_raises(ValueError, answer, torch.zeros(2, 3), temperature, hint=advice)


@probe("09.1")
def probe_soft_targets(answer: Answer, generator: torch.Generator) -> Any:
    """Probabilities of random logits, small and large, the logits afterwards, and whether temperature 0 is refused."""
    for shape, scale in [((3, 5), 2.0), ((2, 8), 600.0), ((4, 2), 0.3)]:
        logits = scale * torch.randn(shape, generator=generator)
        temperature = 0.5 + 6 * torch.rand((), generator=generator).item()
        yield from [answer.in_place(logits, temperature), answer.in_place(logits, 1), logits]
    yield from [*(answer.refuses(torch.zeros(2, 3), temperature) for temperature in (0, -2.0))]


@question("09.2")
def check_distillation_loss(answer: Answer) -> None:
    """Values for many alphas and temperatures, and gradients that reach the student and not the teacher."""
    labels = torch.tensor([2, 0, 1, 3])
    for student, alpha, temperature in cases(shapes=[(4, 5)], alphas=[0.0, 0.7, 1.0], temperatures=[1.0, 2.0, 8]):
        teacher = 2 * torch.randn(4, 5, generator=torch.Generator().manual_seed(5))
        expect_loss(answer, student, teacher, labels, alpha, temperature)
    expect_loss(answer, torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]), torch.tensor([0]), 0.5, 2.0)
    confident = torch.tensor([[400.0, 0.0, -400.0]]), torch.tensor([[-300.0, 0.0, 300.0]])
    expect_loss(answer, *confident, torch.tensor([0]), 0.5, 1.0)
    student = torch.randn(4, 5, generator=torch.Generator().manual_seed(7)).requires_grad_()
    teacher = torch.randn(4, 5, generator=torch.Generator().manual_seed(8)).requires_grad_()
    answer.in_place(student, teacher, labels, 0.5, 2.0).backward()
    advice = "keep the result a tensor, so that backward() can start from it"
    expect(student.grad is not None, "no gradient reaches the student's logits", hint=advice)
    advice = "the teacher is not trained: use teacher_logits.detach()"
    expect(teacher.grad is None, "a gradient reaches the teacher's logits", hint=advice)


@probe("09.2")
def probe_distillation_loss(answer: Answer, generator: torch.Generator) -> Any:
    """Losses of random logits, the last ones large, their gradients, and whether the teacher gets one."""
    for rows, classes, scale in ((3, 4, 2.0), (6, 10, 2.0), (1, 2, 2.0), (4, 5, 2000.0)):
        student = (scale * torch.randn(rows, classes, generator=generator)).requires_grad_()
        teacher = (3 * torch.randn(rows, classes, generator=generator)).requires_grad_()
        labels = torch.randint(0, classes, (rows,), generator=generator)
        alpha, temperature = torch.rand(2, generator=generator).tolist()
        loss = answer.in_place(student, teacher, labels, alpha, 1 + 5 * temperature)
        loss.backward()
        yield from [loss.item(), student.grad, teacher.grad is None]


@question("09.3")
def check_limit_gradient(answer: Answer) -> None:
    """Several shapes; a constant added to a row must not change the result."""
    for student, classes in cases(shapes=[(4, 6), (1, 3), (5, 2), (3, 1)], classes=[0]):
        teacher = 3 * torch.randn(student.shape, generator=torch.Generator().manual_seed(classes + 3)) + 2
        expect_limit(answer, student, teacher)
    expect_limit(answer, torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]]))
    shifted = torch.randn(3, 4, generator=torch.Generator().manual_seed(4)), torch.full((3, 4), 7.0)
    expect_limit(answer, *shifted)


@probe("09.3")
def probe_limit_gradient(answer: Answer, generator: torch.Generator) -> Any:
    """Gradients for random logits."""
    shapes = ((2, 5), (6, 3), (4, 10))
    pairs = [[scale * torch.randn(shape, generator=generator) for scale in (1.5, 4.0)] for shape in shapes]
    return [answer(student, teacher + 1) for student, teacher in pairs]


@question("09.4")
def check_feature_loss(answer: Answer) -> None:
    """One trainable projection, padding that does not count, and gradients for projection and student only."""
    for widths in ((3, 5), (4, 4)):
        module = feature_module(answer, widths)
        linear = filled_like(module, widths)
        for mask in ([[1, 1, 1], [1, 1, 1]], [[1, 1, 0], [1, 0, 0]], [[1, 0, 1], [0, 0, 0]]):
            expect_feature_loss(module, linear, widths, torch.tensor(mask))
    expect_example(answer)


@probe("09.4")
def probe_feature_loss(answer: Answer, generator: torch.Generator) -> Any:
    """Losses, gradients of the projection and of the student, and whether the teacher gets one."""
    for widths in ((4, 6), (5, 2), (3, 3)):
        module = feature_module(answer, widths)
        filled_like(module, widths, int(torch.randint(0, 2**31, (), generator=generator)))
        student, teacher = (torch.randn(2, 4, width, generator=generator, requires_grad=True) for width in widths)
        mask = (torch.rand(2, 4, generator=generator) < 0.6).long()
        mask[:, 0] = 1
        first, second = (Answer(module).in_place(student, teacher, mask) for _ in range(2))
        first.backward()
        gradients = sorted((tuple(one.shape), one.grad) for one in module.parameters())
        yield from [first.item(), second.item(), student.grad, teacher.grad is None, [grad for _, grad in gradients]]


@question("09.5")
def check_train_epoch(answer: Answer) -> None:
    """The student's weights afterwards, an unchanged teacher, and the mean loss."""
    for seed, alpha, temperature in ((0, 0.7, 4.0), (1, 1.0, 2.0), (2, 0.0, 1.0)):
        expect_epoch(answer, Distillation.drawn(torch.Generator().manual_seed(seed)), alpha, temperature)
    setting = Distillation.drawn(torch.Generator().manual_seed(3))
    advice = "without batches, raise ValueError"
    networks = setting.networks()
    expect_raises(ValueError, answer, *networks[:2], [], networks[2], 0.5, 2.0, hint=advice)


@probe("09.5")
def probe_train_epoch(answer: Answer, generator: torch.Generator) -> Any:
    """The mean loss, the student's state, and the teacher's, after an epoch over random batches."""
    for _ in range(2):
        setting = Distillation.drawn(generator)
        alpha, temperature = torch.rand(2, generator=generator).tolist()
        teacher, student, optimizer = setting.networks()
        loss = answer.in_place(teacher, student, setting.batches, optimizer, alpha, 1 + 4 * temperature)
        unchanged = all(parameter.grad is None for parameter in teacher.parameters())
        yield from [as_float(loss), unchanged, student.training]
        yield from [*student.state_dict().values(), *teacher.state_dict().values()]
    teacher, student, optimizer = Distillation.drawn(generator).networks()
    yield answer.refuses(teacher, student, [], optimizer, 0.5, 2.0)
