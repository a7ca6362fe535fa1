"""Training a student on what a teacher says, with or without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import models, training
from course_lib.core.validation import check_choice, check_fraction, check_positive
from course_lib.data import Split, refuse_test
from course_lib.distillation.augmented_views import Views, view_logits
from course_lib.distillation.losses import hidden_state_loss
from course_lib.distillation.matching import Projection, hidden_states, layer_map, match_layers, token_mask
from course_lib.distillation.targets import frozen, joined, teacher_logits
from course_lib.training.losses import soft_target_loss


@dataclass(frozen=True)
class DistillationResult:
    """A student that was trained on a teacher.

    Args:
        model: the student, without anything that only helped to train it.
        history: of its training.
        examples: how many examples it saw per epoch, and how many of these with their label.
    """

    model: nn.Module
    history: training.History = field(default_factory=training.History)
    examples: int = 0
    labelled: int = 0


@dataclass(frozen=True)
class Recipe:
    """What the student is asked to match.

    Args:
        alpha: weight of the teacher's soft targets against the labels, in [0, 1].
        temperature: greater than 0.
        hidden: weight of the hidden states, 0 to leave them out; for transformers.
        hidden_kind: ``"mse"`` for every matched layer, or ``"cosine"`` for the last one (DistilBERT).
        layers: which teacher layers; see ``layer_map``.
    """

    alpha: float = 0.7
    temperature: float = 4.0
    hidden: float = 0.0
    hidden_kind: str = "mse"
    layers: Any = "uniform"

    def __post_init__(self) -> None:
        check_fraction("alpha", self.alpha, below_one=False)
        check_positive("temperature", self.temperature)
        check_choice("hidden_kind", self.hidden_kind, ("mse", "cosine"))
        if self.hidden < 0:
            raise ValueError(f"hidden must be at least 0, got {self.hidden}")


def distil(
    teacher: nn.Module,
    student: nn.Module,
    train: Split | None,
    validation: Split | None = None,
    *,
    transfer: Split | None = None,
    recipe: Recipe | None = None,
    targets: Tensor | None = None,
    epochs: int,
    learning_rate: float,
    **fit_options: Any,
) -> DistillationResult:
    """Train ``student`` in place on the answers of ``teacher``.

    The teacher is asked once about every example, and its logits are kept; with ``augment=True`` they are those of the
    picture before it was flipped and shifted. If ``train`` are ``views`` of pictures, it is asked once about every
    version, and the student hears what it said of the one that is shown. Hidden states, if they are matched, are
    computed anew in every step.

    Args:
        train: labelled examples; None for distillation without any label.
        transfer: further examples whose labels stay unseen.
        targets: logits of the teacher ``(N, classes)`` for ``train`` followed by ``transfer``, if they are known; for
            views as ``view_logits`` gives them.
        fit_options: passed on to ``training.fit``: ``augment``, ``patience``, ``checkpoint``, ``precision``, ….

    Raises:
        TestSplitError: if any split is the test split.
        ValueError: if there is nothing to learn from, the models answer with other classes or read other tokens, or
            an argument is out of range.
    """
    recipe = recipe or Recipe()
    examples, seen = joined(train, transfer)
    if validation is not None:
        refuse_test(validation, "used to choose a student")
    check_same_vocabulary(teacher, student)
    teacher = frozen(teacher)
    classes = _count_classes("student", student, examples)
    many = len(examples.versions) if isinstance(examples, Views) else 1
    if targets is None:
        _count_classes("teacher", teacher, examples)
        targets = view_logits(teacher, examples) if isinstance(examples, Views) else teacher_logits(teacher, examples)
    _check_targets(classes, many * len(examples), targets)
    apprentice = Apprentice(teacher, student, recipe)
    objective = Objective(apprentice, recipe, targets, examples.labels.repeat(many), seen.repeat(many))
    numbered = replace(examples, labels=torch.arange(len(examples)))
    history = training.fit(
        apprentice, numbered, validation, loss=objective, epochs=epochs, learning_rate=learning_rate, **fit_options
    )
    return DistillationResult(student.eval(), history, len(examples), int(seen.sum()))


class Apprentice(nn.Module):
    """The student together with the projection that is trained along and thrown away; the teacher is not part of it."""

    def __init__(self, teacher: nn.Module, student: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.student = student
        self.teacher = [teacher]  # in a list, so that it is neither trained nor written into checkpoints
        self.chosen: tuple[int, ...] = ()
        if recipe.hidden:
            ours, theirs = _transformer_config(student), _transformer_config(teacher)
            self.chosen = layer_map(ours.num_hidden_layers, theirs.num_hidden_layers, recipe.layers)
            self.projection = Projection(ours.hidden_size, theirs.hidden_size, len(self.chosen))

    def forward(self, *inputs: Any, **tokens: Any) -> Any:
        """What the student answers."""
        return self.student(*inputs, **tokens)

    def hidden_loss(self, inputs: Any, output: Any, kind: str) -> Tensor:
        """Distance of the student's hidden states from the teacher's."""
        with torch.no_grad():
            theirs = hidden_states(self.teacher[0](**inputs, output_hidden_states=True))
        ours, mask = hidden_states(output), token_mask(inputs)
        if kind == "mse":
            return match_layers(ours, theirs, self.chosen, self.projection, mask)
        last = self.projection.maps[-1](ours[-1])
        return hidden_state_loss(last, theirs[-1], mask, "cosine")


@dataclass
class Objective:
    """The loss of ``training.fit``; its labels are numbers of rows, under which targets and true labels are kept."""

    apprentice: Apprentice
    recipe: Recipe
    targets: Tensor
    labels: Tensor
    seen: Tensor

    def __call__(self, model: nn.Module, inputs: Any, rows: Tensor) -> Tensor:
        """Scalar loss of one batch."""
        recipe = self.recipe
        output = self._answer(model, inputs)
        logits = getattr(output, "logits", output)
        kept = rows.to(self.targets.device)
        targets = self.targets[kept].to(logits.device)
        labels, seen = self.labels[kept].to(logits.device), self.seen[kept].to(logits.device)
        loss = recipe.alpha * soft_target_loss(logits, targets, recipe.temperature)
        if recipe.alpha < 1 and seen.any():
            task = F.cross_entropy(logits[seen].float(), labels[seen], reduction="sum") / len(seen)
            loss = loss + (1 - recipe.alpha) * task
        if recipe.hidden:
            loss = loss + recipe.hidden * self.apprentice.hidden_loss(inputs, output, recipe.hidden_kind)
        return loss

    def _answer(self, model: nn.Module, inputs: Any) -> Any:
        if not isinstance(inputs, Mapping):
            return model(inputs)
        return model(**inputs, output_hidden_states=bool(self.recipe.hidden))


def check_same_vocabulary(teacher: Any, student: Any) -> None:
    """Raise ``ValueError`` if both are transformers that read different token ids."""
    sizes = [getattr(getattr(model, "config", None), "vocab_size", None) for model in (teacher, student)]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            f"teacher and student must read the same tokens, but the vocabulary of the teacher has {sizes[0]} entries "
            f"and that of the student {sizes[1]}; to save rows, trim it with BertSize(embedding_rows=…)"
        )


@torch.no_grad()
def _count_classes(role: str, model: nn.Module, examples: Split) -> int:
    answer = models.forward(model.eval(), examples.example(1))
    if not isinstance(answer, Tensor) or answer.dim() != 2:
        raise ValueError(
            f"the {role}'s output has no logits (B, classes); use a model with a classification head, not AutoModel"
        )
    return answer.shape[1]


def _check_targets(classes: int, examples: int, targets: Tensor) -> None:
    if len(targets) != examples:
        raise ValueError(f"targets must have one row for each of the {examples} examples, got {len(targets)}")
    if targets.shape[1] != classes:
        raise ValueError(f"student and teacher must answer with the same classes, got {classes} and {targets.shape[1]}")


def _transformer_config(model: Any) -> Any:
    config = getattr(model, "config", None)
    if not hasattr(config, "num_hidden_layers"):
        raise ValueError(f"hidden states are matched between transformers, but {type(model).__name__} is none")
    return config
