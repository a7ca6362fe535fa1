"""The students of benchmarks/distillation_bert.py: how each is made and trained, in several runs if need be."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from common import made_once, sentiment
from torch import nn

from course_lib import data, distillation, models, storage
from course_lib.data import Split

RUNS = Path(__file__).parent.parent / "runs" / "distillation_bert"
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


class OutOfTimeError(RuntimeError):
    """The time limit was reached; the next run resumes after the last finished epoch."""


@cache
def teacher() -> nn.Module:
    """The shipped MiniLM."""
    return models.load("minilm")


def movies() -> data.Splits:
    """The domain with labels."""
    return sentiment()["movies"]


@cache
def transfer_text() -> Split:
    """Unlabelled transfer text: the train sentences of the other domains."""
    amazon, tweets = (sentiment()[domain].train for domain in ("amazon", "tweets"))
    text, _ = distillation.joined(distillation.joined(None, amazon)[0], tweets)
    return replace(text, labels=torch.zeros_like(text.labels))


@cache
def rewritten_text() -> Split:
    """``COPIES`` rewritten versions of every train sentence of the three domains, words swapped within a domain."""
    text = None
    for splits in sentiment().values():
        text, _ = distillation.joined(text, distillation.rewritten_split(splits.train, COPIES))
    assert text is not None
    return text


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
    initialise: str = "teacher"
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
        layers=case.layers, sentences=movies().train if narrower else None, initialise=case.initialise,
    )  # fmt: skip


def training_text(case: Case, seed: int) -> tuple[Split | None, Split | None, torch.Tensor]:
    """Labelled sentences, unlabelled ones, and the targets of the first followed by those of the second."""
    labelled = movies().train if case.labels else None
    unlabelled = [] if case.labels else [movies().train]
    unlabelled += [transfer_text()] if case.transfer else []
    unlabelled += [rewritten_text()] if case.rewritten else []
    targets = torch.cat([targets_of(case, part, seed) for part in (labelled, *unlabelled) if part is not None])
    text: Split | None = None
    for part in unlabelled:
        text, _ = distillation.joined(text, part)
    return labelled, text, targets


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
    checkpoint = RUNS / f"{name}_{seed}.checkpoint"
    result = distillation.distil(
        teacher(), student, train, recipe=case.recipe, transfer=transfer, targets=targets, epochs=case.epochs,
        learning_rate=case.learning_rate, seed=seed, checkpoint=checkpoint, **OPTIONS,
    )  # fmt: skip
    if result.history.interrupted:
        raise OutOfTimeError(name)
    checkpoint.unlink(missing_ok=True)
    return result.model.requires_grad_(True)


def kept(name: str, seed: int) -> Path:
    """File in runs/ of a student that is trained at most once."""
    RUNS.mkdir(parents=True, exist_ok=True)
    return made_once(RUNS / f"{name}_{seed}.safetensors", lambda: train_case(name, seed))


@contextmanager
def time_limit(seconds: int) -> Any:
    """Interrupt the block after ``seconds``, as Ctrl+C would; checkpoints keep the finished epochs."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    except (KeyboardInterrupt, OutOfTimeError):
        print("out of time; run again to continue", flush=True)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
