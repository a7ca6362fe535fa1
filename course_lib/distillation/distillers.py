"""KnowledgeDistiller and ProgressiveDistiller: one student of a teacher, or a chain of ever smaller students."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import profiling, storage, training
from course_lib.core.validation import check_choice, check_fraction
from course_lib.data import Split, refuse_test
from course_lib.distillation.distilling import DistillationResult, Recipe, distil
from course_lib.distillation.matching import Projection, layer_map, match_layers
from course_lib.distillation.students import BertSize, bert_student, resnet_student, teacher_config
from course_lib.distillation.targets import as_split, frozen, joined, teacher_logits
from course_lib.training import losses

BERT_KEYS = ("hidden_size", "num_heads", "num_layers", "intermediate_size", "embedding_rows", "embedding_factor")
BERT_OPTIONS = ("layers", "initialise", "tokens")
RESNET_KEYS = ("channels", "blocks", "shrink", "stem_stride", "depthwise", "num_classes")
DEFAULT_SIZE = {"hidden_size": 384, "num_heads": 6, "num_layers": 6, "intermediate_size": 1536}


class KnowledgeDistiller:
    """Create a smaller student of a teacher and train it on the teacher's outputs.

    ``teacher_model`` is never changed; a copy in eval mode is evaluated.

    Args:
        teacher_model: a BERT with a classification head, or a ResNet.
        student_config: size of the student (``hidden_size``, ``num_heads``, ``num_layers``, ``intermediate_size``,
            also ``embedding_rows``, ``embedding_factor``, ``layers``, ``initialise``, ``tokens``; for a ResNet
            ``channels``, ``blocks``, ``shrink``, ``stem_stride``, ``depthwise``), or the student itself.
        alpha: weight of the teacher's soft targets against the labels, in [0, 1].
        temperature: greater than 0.

    Raises:
        ValueError: if an argument is out of range, or a key is unknown.

    Source: Hinton, Vinyals and Dean, 2015; Sanh et al., DistilBERT, 2019 (the student starts from the teacher).
    """

    def __init__(
        self,
        teacher_model: nn.Module,
        student_config: Mapping[str, Any] | nn.Module,
        alpha: float = 0.7,
        temperature: float = 4,
    ) -> None:
        self.recipe = Recipe(alpha, temperature)
        self.alpha, self.temperature = alpha, temperature
        self.teacher = frozen(teacher_model)
        self.student: nn.Module = (
            student_config if isinstance(student_config, nn.Module) else self.create_student_model(student_config)
        )
        self.projection: Projection | None = None
        self.result: DistillationResult | None = None

    def create_student_model(self, config: Mapping[str, Any]) -> nn.Module:
        """A student of this size; a BERT is initialized from the teacher's weights."""
        if hasattr(getattr(self.teacher, "config", None), "num_hidden_layers"):
            teacher_config(self.teacher)  # refuses transformers of which no student can be made
        else:
            return resnet_student(**_known(config, RESNET_KEYS))
        chosen = _known(config, (*BERT_KEYS, *BERT_OPTIONS))
        options = {key: chosen.pop(key) for key in BERT_OPTIONS if key in chosen}
        return bert_student(self.teacher, BertSize(**(DEFAULT_SIZE | chosen)), **options)

    def distillation_loss(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Total, soft-target loss and task loss; see ``losses.distillation_loss``."""
        return losses.distillation_loss(student_logits, teacher_logits, labels, self.alpha, self.temperature)

    def feature_distillation(self, student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
        """Mean squared distance of hidden states ``(B, L, width)``, layer by layer along the uniform map.

        The projection is created at the first call and kept: train ``projection.parameters()`` with the student.
        """
        if not student_features or not teacher_features:
            raise ValueError("there are no features; call both models with output_hidden_states=True")
        chosen = layer_map(len(student_features), len(teacher_features))
        if self.projection is None:
            widths = student_features[0].shape[-1], teacher_features[0].shape[-1]
            self.projection = Projection(*widths, layers=len(chosen))
        return match_layers(student_features, teacher_features, chosen, self.projection)

    def train_student(
        self,
        loader: Split | Iterable[Any],
        num_epochs: int = 5,
        *,
        validation: Split | None = None,
        feature_weight: float = 0.1,
        learning_rate: float = 5e-4,
        **options: Any,
    ) -> nn.Module:
        """Train the student and return it; ``result`` has the history.

        Args:
            loader: a split, or batches ``(inputs, labels)``.
            feature_weight: weight of the hidden states of transformers; other models are matched by logits only.
            options: ``transfer`` and ``targets`` as in ``distil``, and what ``training.fit`` takes.
        """
        configs = [getattr(model, "config", None) for model in (self.teacher, self.student)]
        transformers = all(hasattr(config, "num_hidden_layers") for config in configs)
        recipe = Recipe(self.alpha, self.temperature, hidden=feature_weight if transformers else 0.0)
        self.result = distil(
            self.teacher, self.student, as_split(loader), validation, recipe=recipe, epochs=num_epochs,
            learning_rate=learning_rate, **options,
        )  # fmt: skip
        return self.result.model


@dataclass(frozen=True)
class Stage:
    """One finished stage: its config, the student, number of parameters, validation accuracy, and file."""

    config: Mapping[str, Any]
    model: nn.Module
    parameters: int
    accuracy: float | None
    file: Path | None


class ProgressiveDistiller:
    """Compress in stages: each student becomes the teacher of the next, together with the original teacher.

    Args:
        teacher_model: the original; it is never changed.
        compression_stages: one ``student_config`` of ``KnowledgeDistiller`` per stage, from large to small.
        alpha, temperature: as there.
        original_weight: weight of the original teacher in the targets of every stage, in [0, 1].

    Raises:
        ValueError: if there are no stages, or a weight is out of range.

    Source: Mirzadeh et al., Improved Knowledge Distillation via Teacher Assistant, 2019.
    """

    def __init__(
        self,
        teacher_model: nn.Module,
        compression_stages: Sequence[Mapping[str, Any]],
        alpha: float = 0.7,
        temperature: float = 4,
        original_weight: float = 0.5,
    ) -> None:
        if not compression_stages:
            raise ValueError("compression_stages must hold at least one student_config, got none")
        self.recipe = Recipe(alpha, temperature)
        self.original_weight = check_fraction("original_weight", original_weight, below_one=False)
        self.teacher, self.stages = frozen(teacher_model), list(compression_stages)
        self.finished: list[Stage] = []

    def multi_stage_distillation(
        self,
        train_loader: Split | Iterable[Any],
        num_epochs: int = 5,
        *,
        validation: Split | None = None,
        folder: str | Path | None = None,
        transfer: Split | None = None,
        **options: Any,
    ) -> nn.Module:
        """Train all stages and return the last student; ``finished`` holds every stage.

        Args:
            num_epochs: of each stage.
            validation: every stage is evaluated on it.
            folder: where every stage is stored; a stage whose file exists is loaded instead of trained.
            options: passed on to ``KnowledgeDistiller.train_student``.
        """
        if validation is not None:
            refuse_test(validation, "used to watch the stages")
        train = as_split(train_loader)
        examples, _ = joined(train, transfer)
        original = teacher_logits(self.teacher, examples)
        current, self.finished = self.teacher, []
        for number, config in enumerate(self.stages, start=1):
            file = Path(folder) / f"stage_{number}.safetensors" if folder is not None else None
            if file is not None and file.exists():
                student = storage.load(file)
            else:
                targets = self._targets(original, current, examples)
                distiller = KnowledgeDistiller(current, config, self.recipe.alpha, self.recipe.temperature)
                student = distiller.train_student(
                    train, num_epochs, validation=validation, transfer=transfer, targets=targets, **options
                )
            self.finished.append(_finish(config, student, validation, file))
            current = student
        return current

    def _targets(self, original: Tensor, current: nn.Module, examples: Split) -> Tensor:
        """Mean of the logits of the original teacher and of the previous student, weighted by ``original_weight``."""
        if current is self.teacher or self.original_weight == 1:
            return original
        return torch.lerp(teacher_logits(current, examples), original, self.original_weight)


def _finish(config: Mapping[str, Any], student: nn.Module, validation: Split | None, file: Path | None) -> Stage:
    if file is not None and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        storage.save(student, file)
    accuracy = training.evaluate(student, validation).accuracy if validation is not None else None
    return Stage(dict(config), student, profiling.count_parameters(student), accuracy, file)


def _known(config: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    for key in config:
        check_choice("student_config", key, allowed)
    return dict(config)
