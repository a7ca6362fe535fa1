"""What the checks of exercise 09 expect of soft targets, losses, gradients and a training loop."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_09 import reference
from course_lib.learning.exercises.lesson_09.cases import Distillation
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_tensor, likely_mistake


def expect_soft(found: Any, logits: Tensor, temperature: float) -> None:
    """Softened probabilities, one row per example."""
    expected = reference.soft_targets(logits, temperature)
    advice = "softmax over the classes of logits / temperature"
    if isinstance(found, Tensor) and found.shape == logits.shape and found.numel():
        single = found.float()
        if not torch.isfinite(found).all():
            advice = "exp of a large logit overflows; subtract the largest logit of the row first, or use torch.softmax"
        elif torch.allclose(single, reference.soft_targets(logits, 1.0), atol=1e-6):
            advice = "the temperature has no effect yet: it divides the logits"
        elif torch.allclose(single, reference.soft_targets(logits, 1 / temperature), atol=1e-6):
            advice = "the temperature divides the logits; you multiply"
        elif torch.allclose(single.sum(dim=0), torch.ones(logits.shape[1]), atol=1e-4):
            advice = "your columns add up to 1; each row is one example and must add up to 1"
    where = f"logits of shape {tuple(logits.shape)} at temperature {temperature:g}"
    expect_close("probabilities", found, expected, given=where, hint=advice)


def expect_loss(
    answer: Answer, student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float
) -> None:
    """The combined loss, a scalar tensor."""
    total, soft, task = (
        reference.distillation_loss(student, teacher, labels, share, temperature).item() for share in (alpha, 1, 0)
    )
    found = answer(student, teacher, labels, alpha, temperature)
    expect_tensor("the loss", found, shape=(), hint="return a scalar tensor, ready for backward()")
    classes = student.shape[1]
    swapped = reference.distillation_loss(teacher, student, labels, 1, temperature).item()
    mistakes = {
        "the soft part lacks T²": alpha * soft / temperature**2 + (1 - alpha) * task,
        "divide the soft part by the examples only, not by the classes": alpha * soft / classes + (1 - alpha) * task,
        "`alpha` belongs to the teacher, 1 - alpha to the labels": alpha * task + (1 - alpha) * soft,
        "the sum over examples should be a mean": alpha * soft * len(labels) + (1 - alpha) * task,
        "teacher and student are swapped in the divergence": alpha * swapped + (1 - alpha) * task,
        "T² belongs to the soft part only": alpha * soft + (1 - alpha) * task * temperature**2,
    }
    where = f"{len(labels)} examples, {classes} classes, alpha {alpha:g}, temperature {temperature:g}"
    advice = "alpha · T² · KL(teacher ‖ student) at temperature T + (1 - alpha) · cross entropy at temperature 1"
    advice = likely_mistake(found.item(), mistakes, advice, atol=1e-4 * abs(found.item()))
    expect_close("loss", found.item(), total, given=where, hint=advice)


def expect_limit(answer: Answer, student: Tensor, teacher: Tensor) -> None:
    """The gradient for an infinite temperature."""
    found, expected = answer(student, teacher), reference.limit_gradient(student, teacher)
    advice = "subtract from each row its mean, for student and teacher; then their difference over N · C"
    rows, classes = student.shape
    mistakes = {
        "divide by the number of classes as well": expected * classes,
        "divide by the number of examples as well: the loss is a mean over them": expected * rows,
        "the sign is wrong: a student logit that is too high must get a positive gradient": -expected,
        "subtract each row's mean: a softmax ignores a constant": (student - teacher) / student.numel(),
    }
    advice = likely_mistake(found, mistakes, advice, atol=1e-6)
    where = f"logits of shape {tuple(student.shape)}"
    expect_close("gradient", found, expected, atol=1e-5, rtol=1e-3, given=where, hint=advice)


def feature_module(answer: Answer, widths: tuple[int, int]) -> nn.Module:
    """The learner's loss module for these widths."""
    module = answer.in_place(*widths)
    expect(isinstance(module, nn.Module), f"FeatureLoss should be an nn.Module, got {type(module).__name__}")
    return module


@torch.no_grad()
def filled_like(module: nn.Module, widths: tuple[int, int], seed: int = 0) -> nn.Linear:
    """Set the projection to random values; returns a linear layer with the same values."""
    student, teacher = widths
    shapes = sorted(tuple(parameter.shape) for parameter in module.parameters())
    advice = "one nn.Linear(student_width, teacher_width), made in __init__ and kept as an attribute"
    given = f"widths {student} and {teacher}"
    expect_equal("shapes of the parameters", shapes, sorted([(teacher,), (teacher, student)]), given=given, hint=advice)
    linear = nn.Linear(student, teacher)
    generator = torch.Generator().manual_seed(seed)
    for target in (linear.weight, linear.bias):
        target.copy_(torch.randn(target.shape, generator=generator))
    for parameter in module.parameters():
        parameter.copy_(linear.weight if parameter.dim() == 2 else linear.bias)
        parameter.grad = None
    return linear


def expect_feature_loss(module: nn.Module, linear: nn.Linear, widths: tuple[int, int], mask: Tensor) -> None:
    """A masked mean over real tokens whose gradients reach projection and student only."""
    generator = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(2, 3, width, generator=generator, requires_grad=True) for width in widths)
    parameters = [id(parameter) for parameter in module.parameters()]
    where = f"widths {widths[0]} and {widths[1]}, mask {mask.tolist()}"
    loss = Answer(module).in_place(student, teacher, mask)
    expect_tensor("the loss", loss, shape=(), given=where, hint="return a scalar tensor")
    feature_loss = reference.FeatureLoss(*widths)
    feature_loss.projection = linear
    expected = feature_loss(student, teacher, mask).item()
    advice = "mean over the width, then over the tokens whose mask is 1; padding counts neither in sum nor in divisor"
    expect_close("loss", loss.item(), expected, given=where, hint=advice)
    module.zero_grad()
    expect(loss.requires_grad, "no gradient can flow from your loss", given=where)
    loss.backward()
    trained = all(parameter.grad is not None for parameter in module.parameters())
    advice = "is one of them detached?"
    expect(
        trained and student.grad is not None, "projection and student should get a gradient", given=where, hint=advice
    )
    advice = "the teacher is not trained: teacher.detach()"
    expect(teacher.grad is None, "a gradient reaches the teacher", given=where, hint=advice)
    advice = "a projection created in forward is random at every step and is never trained"
    expect([id(one) for one in module.parameters()] == parameters, "forward created new parameters", hint=advice)


@torch.no_grad()
def expect_example(answer: Answer) -> None:
    """A student projected to 0 and a teacher that is 3 everywhere: a loss of 9, however much padding there is."""
    module = feature_module(answer, (2, 3))
    for parameter in module.parameters():
        parameter.zero_()
    loss = Answer(module).in_place(torch.ones(1, 3, 2), torch.full((1, 3, 3), 3.0), torch.tensor([[1, 0, 0]]))
    where = "a student that is projected to 0 and a teacher that is 3 everywhere"
    expect_close("loss", loss, 9.0, given=where, hint="padding counts neither in the sum nor in the divisor")


def expect_epoch(answer: Answer, setting: Distillation, alpha: float, temperature: float) -> None:
    """The student's weights after an epoch, an unchanged teacher, and the mean loss."""
    teacher, student, optimizer = setting.networks()
    before = copy.deepcopy(teacher.state_dict())
    loss = answer.in_place(teacher, student, setting.batches, optimizer, alpha, temperature)
    where = f"three batches, alpha {alpha:g}, temperature {temperature:g}"
    advice = "in training mode BatchNorm updates its statistics with every batch: teacher.eval() first"
    same = all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    expect(same, "the teacher has changed", given=where, hint=advice)
    free = all(parameter.grad is None for parameter in teacher.parameters())
    expect(free, "gradients were computed for the teacher", given=where, hint="run it under torch.no_grad()")
    expect(student.training, "the student did not train in training mode", given=where, hint="student.train()")
    teacher, expected_student, optimizer = setting.networks()
    expected = reference.train_epoch(teacher, expected_student, setting.batches, optimizer, alpha, temperature)
    advice = "per batch: clear the gradients, compute the loss of 09.2, backward, one step; is the student in train()?"
    for name, value in expected_student.state_dict().items():
        expect_close(f"student's {name}", student.state_dict()[name], value, given=where, hint=advice, atol=1e-5)
    expect_close("returned loss", loss, expected, given=where, hint="return the mean of the batches' losses, a number")
