"""The distillation loss equals the formula, at every temperature and alpha."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from course_lib.training.losses import distillation_loss, divergence, soft_target_loss, soft_targets

STUDENT = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])


TEACHER = torch.tensor([[3.0, 1.0, -2.0], [0.0, 2.0, 1.0]])


def kl_by_hand(student, teacher, temperature):
    """Sum over classes of p·ln(p/q), with plain numbers."""
    p = [math.exp(value / temperature) for value in teacher]
    q = [math.exp(value / temperature) for value in student]
    p, q = [value / sum(p) for value in p], [value / sum(q) for value in q]
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_soft_target_loss_is_the_mean_over_examples_times_t_squared(temperature):
    rows = zip(STUDENT.tolist(), TEACHER.tolist(), strict=True)
    expected = temperature**2 * sum(kl_by_hand(*row, temperature) for row in rows) / 2
    found = soft_target_loss(STUDENT, TEACHER, temperature)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_keeps_its_size_at_every_temperature():
    norms = []
    for temperature in (10.0, 20.0, 40.0):
        student = STUDENT.clone().requires_grad_()
        soft_target_loss(student, TEACHER, temperature).backward()
        norms.append(student.grad.norm().item())
    assert max(norms) / min(norms) < 1.15


def test_at_high_temperature_the_gradient_matches_centred_logits():
    student = STUDENT.double().requires_grad_()
    teacher = TEACHER.double()
    loss = soft_target_loss(student, teacher, 1.0)
    assert loss > 0
    soft_target_loss(student, teacher, 2000.0).backward()
    difference = (student.detach() - student.detach().mean(1, True)) - (teacher - teacher.mean(1, True))
    assert torch.allclose(student.grad, difference / (2 * 3), atol=1e-3)


def test_nothing_is_lost_between_equal_logits_and_the_teacher_gets_no_gradient():
    teacher = TEACHER.clone().requires_grad_()
    loss = soft_target_loss(teacher.detach().requires_grad_(), teacher, 3.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert teacher.grad is None


def test_alpha_weighs_the_teacher_against_the_labels():
    labels = torch.tensor([0, 1])
    for alpha in (0.0, 0.3, 1.0):
        total, soft, task = distillation_loss(STUDENT, TEACHER, labels, alpha, 2.0)
        assert task.item() == pytest.approx(F.cross_entropy(STUDENT, labels).item())
        assert total.item() == pytest.approx((alpha * soft + (1 - alpha) * task).item())


def test_soft_targets_flatten_with_temperature():
    entropies = []
    for temperature in (0.5, 1.0, 4.0):
        p = soft_targets(TEACHER, temperature)
        assert torch.allclose(p.sum(dim=1), torch.ones(2))
        entropies.append(-(p * p.log()).sum().item())
    assert entropies == sorted(entropies)


@pytest.mark.parametrize(("temperature", "value"), [(0.0, "0"), (-1.0, "-1"), (float("nan"), "nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature, value):
    with pytest.raises(ValueError, match=f"temperature must be greater than 0, got {value}"):
        soft_targets(TEACHER, temperature)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_zero_to_one_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must lie in"):
        distillation_loss(STUDENT, TEACHER, torch.tensor([0, 1]), alpha)


def test_logits_of_different_class_counts_are_refused():
    with pytest.raises(ValueError, match=r"same classes.*\(2, 3\).*\(2, 4\)"):
        soft_target_loss(STUDENT, torch.zeros(2, 4), 2.0)


def test_a_class_that_both_mask_does_not_count():
    masked = [F.pad(logits, (0, 1), value=-torch.inf) for logits in (STUDENT, TEACHER)]
    student = masked[0].clone().requires_grad_()
    loss = soft_target_loss(student, masked[1], 2.0)
    assert loss.item() == pytest.approx(soft_target_loss(STUDENT, TEACHER, 2.0).item())
    loss.backward()
    assert student.grad.isfinite().all() and (student.grad[:, -1] == 0).all()


def test_a_class_that_only_the_student_masks_is_infinitely_far():
    student = STUDENT.clone()
    student[:, 0] = -torch.inf
    assert soft_target_loss(student, TEACHER, 2.0) == torch.inf
    assert soft_target_loss(TEACHER, student, 2.0).isfinite()


def test_the_divergence_of_masked_classes_is_that_of_the_others():
    p, q = (F.pad(logits, (1, 0), value=-torch.inf).log_softmax(dim=1) for logits in (TEACHER, STUDENT))
    expected = soft_target_loss(STUDENT, TEACHER, 1.0)
    assert divergence(p, q).item() == pytest.approx(expected.item())
