"""Right answers to exercise 10, which the checks compare with."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYERS = "bert.encoder.layer."


def layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Evenly spaced layers of the teacher, counted from 0; the last is among them (Jiao et al., TinyBERT, 2019)."""
    if not 1 <= student_layers <= teacher_layers:
        raise ValueError(f"student_layers must be from 1 to {teacher_layers}, got {student_layers}")
    return tuple((layer + 1) * teacher_layers // student_layers - 1 for layer in range(student_layers))


def student_state(state: Mapping[str, Tensor], chosen: Sequence[int]) -> dict[str, Tensor]:
    """Weights of a student that keeps the chosen layers, renumbered from 0, and all that is no layer."""
    places = {number: place for place, number in enumerate(chosen)}
    kept = {}
    for name, tensor in state.items():
        if name.startswith(LAYERS):
            number, rest = name.removeprefix(LAYERS).split(".", 1)
            if int(number) not in places:
                continue
            name = f"{LAYERS}{places[int(number)]}.{rest}"
        kept[name] = tensor.clone()
    return kept


def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    """Soft targets, task and cosine of the last hidden states, weighted (Sanh et al., DistilBERT, 2019)."""
    logits, states = student
    soft = F.kl_div(
        F.log_softmax(logits / temperature, dim=1),
        F.softmax(teacher[0].detach() / temperature, dim=1),
        reduction="batchmean",
    )
    task = F.cross_entropy(logits, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = (distance * mask).sum() / mask.sum()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine


def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    """Squared difference of two attention maps, over rows and columns that are words."""
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student.mean(dim=1) - teacher.detach().mean(dim=1)
    pairs = mask[:, :, None] * mask[:, None, :]
    return (difference.square() * pairs).sum() / pairs.sum()


def distil_in_stages(
    teacher: nn.Module,
    students: Sequence[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    """The repaired chain: every stage learns from the one before and from the original, and is measured."""
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    current, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        target = F.softmax((original_weight * original + (1 - original_weight) * current) / temperature, dim=1)
        update = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = F.kl_div(answers, target, reduction="batchmean") * temperature**2
            update.zero_grad()
            loss.backward()
            update.step()
        with torch.no_grad():
            current = learner.eval()(inputs)
        agreement.append((current.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
