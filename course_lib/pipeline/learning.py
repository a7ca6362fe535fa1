"""Steps that train: fine_tune and distil."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from course_lib import distillation, models, pruning
from course_lib.pipeline.context import Context, Lesson, finished

SPARSE = 0.1  # share of zeros from which a model counts as pruned


def fine_tune(model: nn.Module, context: Context, **options: Any) -> nn.Module:
    """Train a copy of the model on the labels and on the original's outputs; zeros of a pruned model stay zero."""
    lesson = Lesson(context, options, context.original)
    if pruning.sparsity(model) < SPARSE:
        return lesson.fit(model)
    with lesson.frozen(model):
        result = pruning.fine_tune(model, lesson.split, **lesson.options)
    finished(result.history)
    return result.model.requires_grad_(True)


def distil(
    model: nn.Module, context: Context, *, student: Mapping[str, Any], teacher: str, **options: Any
) -> nn.Module:
    """Train a new student on the outputs of the original, or of the model of the previous step."""
    source = {"original": context.original, "previous": model}[teacher]
    lesson = Lesson(context, options, source)
    return lesson.fit(make_student(student, source, context))


def make_student(student: Mapping[str, Any], teacher: nn.Module, context: Context) -> nn.Module:
    """An untrained student.

    Args:
        student: ``{"builder": …, "arguments": {…}}``, or ``{"bert": {…}}`` with the fields of
            ``distillation.BertSize``, which starts from the teacher's weights.

    Raises:
        ValueError: if it is neither, or has other fields.
    """
    if set(student) == {"bert"}:
        try:
            size = distillation.BertSize(**student["bert"])
        except TypeError as error:
            raise ValueError(f"student.bert must have the fields of distillation.BertSize: {error}") from error
        rows = size.embedding_rows
        tokens = None if rows is None else distillation.frequent_tokens([context.splits.train], rows)
        narrower = size.hidden_size < distillation.students.teacher_config(teacher).hidden_size
        sentences = context.splits.train if narrower else None
        return distillation.bert_student(teacher, size, tokens=tokens, sentences=sentences)
    if not {"builder"} <= set(student) <= {"builder", "arguments"}:
        raise ValueError(f"student must have 'builder' and 'arguments', or 'bert', got {sorted(student)}")
    return _seeded(student, context.seed)


def _seeded(student: Mapping[str, Any], seed: int) -> nn.Module:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.build(dict(student))
