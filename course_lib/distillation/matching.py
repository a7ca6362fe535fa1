"""Matching of layers: which layer of the teacher each layer of the student learns from, and across widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.core.validation import check_choice, check_positive
from course_lib.distillation.losses import attention_transfer, hidden_state_loss
from course_lib.models.hooks import capture_outputs

LAYER_MAPS = ("uniform", "last")


def layer_map(student_layers: int, teacher_layers: int, kind: str | Sequence[int] = "uniform") -> tuple[int, ...]:
    """For each layer of the student, the number of the teacher's layer that it learns from, counted from 0.

    Args:
        student_layers: how many layers the student has, between 1 and ``teacher_layers``.
        kind: ``"uniform"``: evenly spaced, ending with the last one; ``"last"``: the teacher's last layers; or the
            numbers themselves, in rising order.

    Raises:
        ValueError: if there are more layers in the student, ``kind`` is unknown, or the numbers do not fit.

    Example:
        ``layer_map(3, 6)`` is ``(1, 3, 5)``.

    Source: Jiao et al., TinyBERT, 2019, section 3 (uniform and last).
    """
    check_positive("student_layers", student_layers)
    if student_layers > teacher_layers:
        raise ValueError(f"student_layers must be at most the teacher's {teacher_layers}, got {student_layers}")
    if isinstance(kind, str):
        check_choice("kind", kind, LAYER_MAPS)
        if kind == "last":
            return tuple(range(teacher_layers - student_layers, teacher_layers))
        return tuple((layer + 1) * teacher_layers // student_layers - 1 for layer in range(student_layers))
    chosen = tuple(kind)
    rising = all(a < b for a, b in zip(chosen, chosen[1:], strict=False))
    if len(chosen) != student_layers or not rising or chosen[0] < 0 or chosen[-1] >= teacher_layers:
        raise ValueError(
            f"kind must name {student_layers} layers of the teacher in rising order, each from 0 to "
            f"{teacher_layers - 1}; got {chosen}"
        )
    return chosen


class Projection(nn.Module):
    """Projects the student's hidden states to the teacher's width, with one linear map per matched layer.

    It is created once, trained with the student, and discarded afterwards; between equal widths it is the identity.

    Source: Romero et al., FitNets, 2014.
    """

    def __init__(self, student_width: int, teacher_width: int, layers: int) -> None:
        super().__init__()
        for name, value in {"student_width": student_width, "teacher_width": teacher_width, "layers": layers}.items():
            check_positive(name, value)
        same = student_width == teacher_width
        self.maps = nn.ModuleList(
            nn.Identity() if same else nn.Linear(student_width, teacher_width) for _ in range(layers)
        )

    def forward(self, states: Sequence[Tensor]) -> list[Tensor]:
        """``(B, L, student_width)`` of each layer → ``(B, L, teacher_width)`` of each layer."""
        return [widen(state) for widen, state in zip(self.maps, states, strict=True)]


def match_layers(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    chosen: Sequence[int],
    projection: Projection,
    mask: Tensor | None = None,
    kind: str = "mse",
) -> Tensor:
    """Mean over the student's layers of ``hidden_state_loss`` against the teacher's layer of the map.

    Args:
        student: output of each layer, ``(B, L, width)``, without the embedding.
        teacher: likewise.
        chosen: the result of ``layer_map``.

    Raises:
        ValueError: if there are no states, or their number does not fit the map.
    """
    if not student or not teacher:
        raise ValueError("there are no hidden states to match; call the models with output_hidden_states=True")
    if len(student) != len(chosen) or max(chosen) >= len(teacher):
        raise ValueError(
            f"chosen must name one of the teacher's {len(teacher)} layers for each of the student's {len(student)}, "
            f"got {tuple(chosen)}"
        )
    pairs = zip(projection(student), (teacher[layer] for layer in chosen), strict=True)
    return torch.stack([hidden_state_loss(ours, theirs, mask, kind) for ours, theirs in pairs]).mean()


def hidden_states(output: Any) -> list[Tensor]:
    """Outputs of the layers of a transformers model, ``(B, L, width)`` each, without that of the embedding."""
    states = getattr(output, "hidden_states", None)
    if not states:
        raise ValueError("the output has no hidden states; call the model with output_hidden_states=True")
    return list(states[1:])


def attention_maps(output: Any) -> list[Tensor]:
    """Attention of the layers of a transformers model, ``(B, heads, L, L)`` each.

    Raises:
        ValueError: if there are none, as with ``attn_implementation="sdpa"``, which never computes the maps.
    """
    maps = getattr(output, "attentions", None)
    if not maps or any(one is None for one in maps):
        raise ValueError(
            "the output has no attention maps; call the model with output_attentions=True and "
            "attn_implementation='eager' (sdpa does not compute them)"
        )
    return list(maps)


def feature_maps(model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the output of each stage, of torchvision's ResNets and of ``SmallResNet``.

    Raises:
        ValueError: if the model has no known stages.
    """
    stages: Any = getattr(model, "stages", None)
    names = [f"layer{i}" for i in range(1, 5)] if stages is None else [f"stages.{i}" for i in range(len(stages))]
    if not names or not set(names) <= dict(model.named_modules()).keys():
        raise ValueError(f"{type(model).__name__} has no stages to match; use a ResNet or match logits only")
    with capture_outputs(model, names) as maps:
        logits = models.forward(model, images)
    return logits, [maps[name] for name in names]


def attention_transfer_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], chosen: Sequence[int]) -> Tensor:
    """Mean of ``attention_transfer`` over the stages of the student and the stages of the teacher in ``chosen``."""
    pairs = zip(student, (teacher[stage] for stage in chosen), strict=True)
    return torch.stack([attention_transfer(ours, theirs) for ours, theirs in pairs]).mean()


def token_mask(inputs: Any) -> Tensor | None:
    """The attention mask ``(B, L)`` of tokens; None for images."""
    return inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
