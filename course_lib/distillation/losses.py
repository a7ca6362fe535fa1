"""Losses on hidden states, attention and distances between examples; those on logits are in ``training.losses``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.core.validation import check_choice
from course_lib.training.losses import soft_target_loss


def hidden_state_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None, kind: str = "mse") -> Tensor:
    """Distance of two tensors of hidden states of the same width.

    Args:
        student: ``(B, L, width)``, already projected to the teacher's width where it differs.
        teacher: ``(B, L, width)``; no gradient flows into it.
        mask: ``(B, L)``, 1 where there is a token; all of them by default.
        kind: ``"mse"``, the mean squared difference, or ``"cosine"``, the mean of 1 - cosine.

    Raises:
        ValueError: if the shapes differ or ``kind`` is unknown.

    Source: Romero et al., FitNets, 2014 (mse); Sanh et al., DistilBERT, 2019 (cosine).
    """
    check_choice("kind", kind, ("mse", "cosine"))
    if student.shape != teacher.shape:
        raise ValueError(
            f"student states {tuple(student.shape)} and teacher states {tuple(teacher.shape)} must have the same "
            "shape; bring the student to the teacher's width with one distillation.Projection that is trained along"
        )
    teacher = teacher.detach()
    if kind == "mse":
        distance = (student - teacher).square().mean(dim=-1)
    else:
        distance = 1 - F.cosine_similarity(student, teacher, dim=-1)
    return _token_mean(distance, mask)


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance between the spatial attention of two feature maps with any number of channels.

    Each map ``(B, channels, H, W)`` is reduced to its mean of squares over channels, ``(B, H, W)``, scaled to unit
    length; the larger one is average-pooled to the size of the smaller one first.

    Source: Zagoruyko and Komodakis, Paying More Attention to Attention, 2016.
    """
    if student.dim() != 4 or teacher.dim() != 4 or len(student) != len(teacher):
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"student and teacher must be feature maps (B, channels, H, W) of the same B, got {shapes}")
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])

    def attention(maps: Tensor) -> Tensor:
        energy = F.adaptive_avg_pool2d(maps.float().square().mean(dim=1), size)
        return F.normalize(energy.flatten(1), dim=1)

    return (attention(student) - attention(teacher.detach())).square().sum(dim=1).mean()


def attention_map_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """``KL(teacher ‖ student)`` of attention maps ``(B, heads, L, L)``, averaged over heads if their number differs.

    Args:
        mask: ``(B, L)``, 1 where there is a token; rows of padding do not count.

    Source: Wang et al., MiniLM, 2020 (KL); Jiao et al., TinyBERT, 2019, matches attention by layer.
    """
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(dim=1, keepdim=True), teacher.mean(dim=1, keepdim=True)
    if student.shape != teacher.shape:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(
            f"student and teacher must be attention maps (B, heads, L, L) of the same B and L, got {shapes}"
        )
    teacher = teacher.detach().clamp(min=1e-7)
    rows = (teacher * (teacher.log() - student.clamp(min=1e-7).log())).sum(dim=-1).mean(dim=1)
    return _token_mean(rows, mask)


def relational_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Difference of the pairwise distances within a batch, each set divided by its mean (smooth L1).

    Args:
        student: ``(B, any)`` features; the width may differ from the teacher's.
        teacher: ``(B, any)``.

    Source: Park et al., Relational Knowledge Distillation, 2019.
    """
    if len(student) != len(teacher) or len(student) < 2:
        counts = f"{len(student)} and {len(teacher)}"
        raise ValueError(f"student and teacher must hold the same examples, at least 2 of them, got {counts}")

    def distances(features: Tensor) -> Tensor:
        pairs = torch.pdist(features.flatten(1).float())
        return pairs / pairs.mean().clamp(min=1e-12)

    return F.smooth_l1_loss(distances(student), distances(teacher.detach()))


def triple_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    mask: Tensor | None = None,
    *,
    temperature: float = 2.0,
    weights: Sequence[float] = (5.0, 2.0, 1.0),
) -> Tensor:
    """The loss of DistilBERT: soft targets, the task, and the cosine distance of the last hidden states.

    Args:
        student_hidden: ``(B, L, width)``.
        mask: ``(B, L)``, 1 where there is a token.
        weights: of the soft targets, the task loss and the cosine loss.

    Raises:
        ValueError: if ``weights`` is not three numbers of at least 0, or another argument is out of range.

    Source: Sanh et al., DistilBERT, 2019.
    """
    if len(weights) != 3 or min(weights) < 0:
        raise ValueError(f"weights must be three numbers of at least 0 (soft, task, cosine), got {tuple(weights)}")
    soft = soft_target_loss(student_logits, teacher_logits, temperature)
    task = F.cross_entropy(student_logits.float(), labels)
    cosine = hidden_state_loss(student_hidden, teacher_hidden, mask, "cosine")
    return weights[0] * soft + weights[1] * task + weights[2] * cosine


def _token_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of ``(B, L)`` over the tokens."""
    weights = torch.ones_like(values) if mask is None else mask.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp(min=1)
