"""Training a student on the outputs of a teacher, with or without labels."""

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
        model: the student, without the projection that was trained along.
        history: of its training.
        examples: how many examples it saw per epoch.
        labelled: how many of these with their label.
    """

    model: nn.Module
    history: training.History = field(default_factory=training.History)
    examples: int = 0
    labelled: int = 0


@dataclass(frozen=True)
class Recipe:
    """What the student is trained to match.

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
    """Train ``student`` in place on the outputs of ``teacher``.

    The logits of the teacher are computed once for every example; with ``augment=True`` they belong to the image before
    augmentation. If ``train`` are ``views`` of images, there is one target for every version, and the student gets that
    of the version it is shown. Hidden states, if they are matched, are recomputed in every step.

    Args:
        train: labelled examples; None for distillation without labels.
        transfer: further examples whose labels are not used.
        targets: logits of the teacher ``(N, classes)`` for ``train`` followed by ``transfer``, if they are known; for
            views as ``view_logits`` returns them.
        fit_options: passed on to ``training.fit``: ``augment``, ``patience``, ``checkpoint``, ``precision``, ….

    Raises:
        TestSplitError: if any split is the test split.
        ValueError: if there is nothing to learn from, classes or vocabularies of the models differ, or an argument is
            out of range.
    """
    recipe = recipe or Recipe()
    examples, labelled = joined(train, transfer)
    if validation is not None:
        refuse_test(validation, "used to choose a student")
    check_same_vocabulary(teacher, student)
    teacher = frozen(teacher)
    targets = _checked_targets(teacher, student, examples, targets)
    trained, versions = ProjectedStudent(teacher, student, recipe), len(targets) // len(examples)
    loss = DistillationLoss(trained, recipe, targets, examples.labels.repeat(versions), labelled.repeat(versions))
    indexed = replace(examples, labels=torch.arange(len(examples)))
    history = training.fit(
        trained, indexed, validation, loss=loss, epochs=epochs, learning_rate=learning_rate, **fit_options
    )
    return DistillationResult(student.eval(), history, len(examples), int(labelled.sum()))


class ProjectedStudent(nn.Module):
    """The student with the projection of its hidden states, which is trained along and discarded afterwards."""

    def __init__(self, teacher: nn.Module, student: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.student = student
        self.teacher = [teacher]  # in a list, so that it is neither trained nor written into checkpoints
        self.layers: tuple[int, ...] = ()
        if recipe.hidden:
            ours, theirs = _transformer_config(student), _transformer_config(teacher)
            self.layers = layer_map(ours.num_hidden_layers, theirs.num_hidden_layers, recipe.layers)
            self.projection = Projection(ours.hidden_size, theirs.hidden_size, len(self.layers))

    def forward(self, *inputs: Any, **tokens: Any) -> Any:
        """The output of the student."""
        return self.student(*inputs, **tokens)

    def hidden_loss(self, inputs: Any, output: Any, kind: str) -> Tensor:
        """Distance of the student's hidden states from the teacher's."""
        with torch.no_grad():
            theirs = hidden_states(self.teacher[0](**inputs, output_hidden_states=True))
        ours, mask = hidden_states(output), token_mask(inputs)
        if kind == "mse":
            return match_layers(ours, theirs, self.layers, self.projection, mask)
        last = self.projection.maps[-1](ours[-1])
        return hidden_state_loss(last, theirs[-1], mask, "cosine")


@dataclass
class DistillationLoss:
    """A loss for ``training.fit`` on examples whose labels are row numbers.

    Args:
        targets, labels, labelled: logits of the teacher, true label, and whether it may be used, for each row.
    """

    student: ProjectedStudent
    recipe: Recipe
    targets: Tensor
    labels: Tensor
    labelled: Tensor

    def __call__(self, model: nn.Module, inputs: Any, rows: Tensor) -> Tensor:
        """Scalar loss of one batch."""
        recipe = self.recipe
        output = self._forward(model, inputs)
        logits = getattr(output, "logits", output)
        rows = rows.to(self.targets.device)
        targets, labels, labelled = (
            values[rows].to(logits.device) for values in (self.targets, self.labels, self.labelled)
        )
        loss = recipe.alpha * soft_target_loss(logits, targets, recipe.temperature)
        if recipe.alpha < 1 and labelled.any():
            task = F.cross_entropy(logits[labelled].float(), labels[labelled], reduction="sum") / len(rows)
            loss = loss + (1 - recipe.alpha) * task
        if recipe.hidden:
            loss = loss + recipe.hidden * self.student.hidden_loss(inputs, output, recipe.hidden_kind)
        return loss

    def _forward(self, model: nn.Module, inputs: Any) -> Any:
        if not isinstance(inputs, Mapping):
            return model(inputs)
        return model(**inputs, output_hidden_states=bool(self.recipe.hidden))


def check_same_vocabulary(teacher: Any, student: Any) -> None:
    """Raise ``ValueError`` if both are transformers with vocabularies of different sizes."""
    sizes = [getattr(getattr(model, "config", None), "vocab_size", None) for model in (teacher, student)]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            f"teacher and student must read the same tokens, but the vocabulary of the teacher has {sizes[0]} entries "
            f"and that of the student {sizes[1]}; to save rows, trim it with BertSize(embedding_rows=…)"
        )


def _checked_targets(teacher: nn.Module, student: nn.Module, examples: Split, targets: Tensor | None) -> Tensor:
    """``targets``, computed by the teacher if they are None, with one row per example (or version of it)."""
    classes = _count_classes("student", student, examples)
    if targets is None:
        _count_classes("teacher", teacher, examples)
        targets = view_logits(teacher, examples) if isinstance(examples, Views) else teacher_logits(teacher, examples)
    rows = len(examples) * (len(examples.versions) if isinstance(examples, Views) else 1)
    if len(targets) != rows:
        raise ValueError(f"targets must have one row for each of the {rows} examples, got {len(targets)}")
    if targets.shape[1] != classes:
        raise ValueError(f"student and teacher must answer with the same classes, got {classes} and {targets.shape[1]}")
    return targets


@torch.no_grad()
def _count_classes(role: str, model: nn.Module, examples: Split) -> int:
    with models.evaluating(model):
        output = models.call(model, examples.example(1))
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError(
            f"the {role}'s output has no logits (B, classes); use a model with a classification head, not AutoModel"
        )
    return logits.shape[1]


def _transformer_config(model: Any) -> Any:
    config = getattr(model, "config", None)
    if not hasattr(config, "num_hidden_layers"):
        raise ValueError(f"hidden states are matched between transformers, but {type(model).__name__} is none")
    return config
