"""Losses on hidden states, attention maps and relations between examples."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from course_lib import distillation

STUDENT = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])


TEACHER = torch.tensor([[3.0, 1.0, -2.0], [0.0, 2.0, 1.0]])


def test_padding_does_not_count_in_the_hidden_state_loss():
    student, teacher = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    teacher[0, 2] = 100.0
    assert distillation.hidden_state_loss(student, teacher, mask).item() == pytest.approx(1.0)


def test_the_cosine_loss_sees_direction_and_not_length():
    states = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert distillation.hidden_state_loss(5 * states, states, kind="cosine").item() == pytest.approx(0.0, abs=1e-6)
    assert distillation.hidden_state_loss(-states, states, kind="cosine").item() == pytest.approx(2.0)


def test_states_of_another_width_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"distillation\.Projection"):
        distillation.hidden_state_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))


def test_attention_transfer_ignores_channels_and_scale():
    maps = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    wide = 7 * maps.repeat(1, 2, 1, 1)
    assert distillation.attention_transfer(maps, wide).item() == pytest.approx(0.0, abs=1e-6)
    assert distillation.attention_transfer(maps, wide.flip(3)).item() > 0.01


def test_attention_transfer_averages_the_larger_map_down():
    small = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert distillation.attention_transfer(small, large).item() == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="feature maps"):
        distillation.attention_transfer(small, large[:1])


def test_attention_maps_are_compared_row_by_row_without_padding():
    teacher = torch.softmax(torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)), -1)
    assert distillation.attention_map_loss(teacher, teacher).item() == pytest.approx(0.0, abs=1e-6)
    student = teacher.clone()
    student[:, :, 2] = 1 / 3
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    assert distillation.attention_map_loss(student, teacher, mask).item() == pytest.approx(0.0, abs=1e-6)
    assert distillation.attention_map_loss(student, teacher).item() > 0
    assert distillation.attention_map_loss(teacher[:, :2], teacher).item() >= 0
    with pytest.raises(ValueError, match="must be attention maps"):
        distillation.attention_map_loss(student, teacher[:, :, :2, :2])


def test_relations_do_not_change_with_scale_rotation_or_shift():
    features = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    moved = 4 * features[:, [2, 0, 1]] + 1
    assert distillation.relational_loss(moved, features).item() == pytest.approx(0.0, abs=1e-6)
    assert distillation.relational_loss(features.flip(0)[:, :2], features).item() > 0
    with pytest.raises(ValueError, match="at least 2"):
        distillation.relational_loss(features[:1], features[:1])


def test_the_triple_loss_is_the_weighted_sum_of_its_parts():
    labels, hidden = torch.tensor([0, 1]), torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    other, mask = hidden.flip(2), torch.tensor([[1, 1, 1], [1, 1, 0]])
    soft = distillation.soft_target_loss(STUDENT, TEACHER, 2.0)
    expected = 5 * soft + 2 * F.cross_entropy(STUDENT, labels)
    expected = expected + distillation.hidden_state_loss(hidden, other, mask, "cosine")
    found = distillation.triple_loss(STUDENT, TEACHER, labels, hidden, other, mask)
    assert found.item() == pytest.approx(expected.item())
    with pytest.raises(ValueError, match="three numbers"):
        distillation.triple_loss(STUDENT, TEACHER, labels, hidden, other, weights=(1.0, 1.0))
