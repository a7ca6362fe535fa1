"""The students of benchmarks/distillation_bert.py: how each is made and trained, in several runs if need be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import resuming
import torch
from common import sentiment
from torch import nn

from course_lib import data, distillation, models, storage
from course_lib.data import Split

RUNS = resuming.RUNS / "distillation_bert"
SEEDS = (0, 1, 2)
ROWS, FACTOR = 10_000, 128
TENTH = {"hidden_size": 160, "num_layers": 2, "num_heads": 4, "intermediate_size": 320}
MIDDLE = {"hidden_size": 256, "num_layers": 2, "num_heads": 8, "intermediate_size": 768}
TEACHER_WIDTH = 384
HALF = {"hidden_size": 384, "num_layers": 3, "num_heads": 12, "intermediate_size": 1536}
HALF_LAYERS = (0, 1, 2)
COPIES = 6
EPOCHS = {"tenth": 4, "half": 2, "plain": 6}
OPTIONS = {"batch_size": 64, "precision": "bf16", "progress": False, "weight_decay": 0.01}
SOFT = distillation.Recipe(alpha=0.9, temperature=4.0)
LABELS_ONLY = distillation.Recipe(alpha=0.0)


@cache
def teacher() -> nn.Module:
    """The shipped MiniLM."""
    return models.load("minilm")


def movies() -> data.Splits:
    """The domain with labels."""
    return sentiment()["movies"]


def unlabelled(parts: Iterable[Split]) -> Any:
    """All sentences of some splits, in their order, with zeros as labels; None without splits."""
    text: Split | None = None
    for part in parts:
        text, _ = distillation.joined(text, part)
    return text


@cache
def transfer_text() -> Split:
    """Unlabelled transfer text: the train sentences of the other domains."""
    return unlabelled(sentiment()[domain].train for domain in ("amazon", "tweets"))


@cache
def rewritten_text() -> Split:
    """``COPIES`` rewritten versions of every train sentence of the three domains, words swapped within a domain."""
    return unlabelled(distillation.rewritten_split(splits.train, COPIES) for splits in sentiment().values())


def teacher_targets(split: Split, source: nn.Module | None = None, label: str = "teacher") -> torch.Tensor:
    """The logits of a teacher (the original by default), in bf16 arithmetic, kept in runs/."""
    with torch.autocast("cpu", torch.bfloat16):
        return distillation.teacher_logits(
            source or teacher(), split, cache=RUNS / f"{label}_{len(split)}.safetensors", batch_size=64
        ).float()


def vocabulary() -> list[int]:
    """The tokens that get a row of their own in a trimmed embedding."""
    return distillation.frequent_tokens([splits.train for splits in sentiment().values()], ROWS)


@dataclass(frozen=True)
class Case:
    """One way to train a student: its shape, its text, and what it has to match.

    Args:
        rewritten: whether ``rewritten_text`` is added.
        source: name of the case whose student it is initialized from, and which is a second teacher.
    """

    shape: dict[str, int]
    slim: bool
    recipe: distillation.Recipe = SOFT
    labels: bool = True
    transfer: bool = True
    rewritten: bool = True
    layers: Any = "uniform"
    source: str | None = None
    epochs: int = EPOCHS["tenth"]
    learning_rate: float = 1e-3


PLAIN = {"rewritten": False, "epochs": EPOCHS["plain"], "learning_rate": 5e-4}
CASES = {
    "tenth": Case(TENTH, True),
    "half": Case(HALF, False, layers=HALF_LAYERS, epochs=EPOCHS["half"], learning_rate=2e-4),
    "tenth_labels_only": Case(TENTH, True, LABELS_ONLY, transfer=False, **PLAIN),
    "tenth_not_rewritten": Case(TENTH, True, **PLAIN),
    "tenth_label_free": Case(TENTH, True, replace(SOFT, alpha=1.0), labels=False),
    # three stages with as many epochs in all as "tenth": two for half, one each for middle and tenth
    "middle": Case(MIDDLE, False, source="half", epochs=1, learning_rate=5e-4),
    "tenth_in_stages": Case(TENTH, True, source="middle", epochs=1),
}


def student_of(source: nn.Module, case: Case) -> nn.Module:
    """An untrained student; if it is slim, its word embedding is trimmed and factorized."""
    extra = {"embedding_rows": ROWS, "embedding_factor": FACTOR} if case.slim else {}
    narrower = case.shape["hidden_size"] < TEACHER_WIDTH
    return distillation.bert_student(
        source, distillation.BertSize(**case.shape, **extra), tokens=vocabulary() if case.slim else None,
        layers=case.layers, sentences=movies().train if narrower else None,
    )  # fmt: skip


def training_text(case: Case, seed: int) -> tuple[Split | None, Split | None, torch.Tensor]:
    """Labelled sentences, unlabelled ones, and the targets of the first followed by those of the second."""
    labelled = [movies().train] if case.labels else []
    others = [] if case.labels else [movies().train]
    others += [transfer_text()] if case.transfer else []
    others += [rewritten_text()] if case.rewritten else []
    targets = torch.cat([targets_of(case, part, seed) for part in labelled + others])
    return next(iter(labelled), None), unlabelled(others), targets


def targets_of(case: Case, split: Split, seed: int) -> torch.Tensor:
    """The logits of the teacher, or the mean with those of a second teacher."""
    if case.source is None:
        return teacher_targets(split)
    label = f"{case.source}_{seed}"
    return torch.lerp(teacher_targets(split), teacher_targets(split, source_of(case, seed), label), 0.5)


def source_of(case: Case, seed: int) -> nn.Module:
    """The model that the student is initialized from."""
    return storage.load(kept(case.source, seed)) if case.source else teacher()


def train_case(name: str, seed: int) -> nn.Module:
    """Train one student, or resume from its checkpoint; a full word embedding stays frozen."""
    case = CASES[name]
    train, transfer, targets = training_text(case, seed)
    torch.manual_seed(seed)
    student: Any = student_of(source_of(case, seed), case)
    if not case.slim:
        student.bert.embeddings.word_embeddings.requires_grad_(False)
    if case.rewritten:  # rewritten text regularizes instead of dropout
        for module in student.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    result = distillation.distil(
        teacher(), student, train, recipe=case.recipe, transfer=transfer, targets=targets, epochs=case.epochs,
        learning_rate=case.learning_rate, seed=seed, checkpoint=RUNS / f"{name}_{seed}.checkpoint", **OPTIONS,
    )  # fmt: skip
    resuming.stop_if_interrupted(result.history)
    return result.model.requires_grad_(True)


def file_of(name: str, seed: int) -> Path:
    """File in runs/ of a trained student."""
    return RUNS / f"{name}_{seed}.safetensors"


def kept(name: str, seed: int) -> Path:
    """File in runs/ of a student that is trained at most once."""
    return resuming.made_once(file_of(name, seed), lambda: train_case(name, seed))
