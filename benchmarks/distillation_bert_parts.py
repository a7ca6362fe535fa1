"""The students behind benchmarks/distillation_bert.py: how each is made, trained in slices of time, and kept."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
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
    """The slice of time is over; the next run goes on from the last finished epoch."""


@cache
def teacher() -> nn.Module:
    return models.load("minilm")


@cache
def movies() -> data.Splits:
    return data.load("sentiment", domain="movies")


@cache
def transfer_text() -> Split:
    """What the student reads without labels: the train sentences of the other domains."""
    amazon, tweets = (data.load("sentiment", domain=domain).train for domain in ("amazon", "tweets"))
    text, _ = distillation.joined(distillation.joined(None, amazon)[0], tweets)
    return replace(text, labels=torch.zeros_like(text.labels))


@cache
def rewritten_text() -> Split:
    """``COPIES`` rewritten versions of every train sentence of the three domains, words exchanged within a domain."""
    splits = [data.load("sentiment", domain=domain).train for domain in data.SENTIMENT_DOMAINS]
    text = distillation.rewritten_split(splits[0], COPIES)
    for split in splits[1:]:
        text, _ = distillation.joined(text, distillation.rewritten_split(split, COPIES))
    return text


def teacher_answers(split: Split, source: nn.Module | None = None, label: str = "teacher") -> torch.Tensor:
    """The logits of a teacher (the original by default), in bf16 arithmetic, kept in runs/."""
    with torch.autocast("cpu", torch.bfloat16):
        return distillation.teacher_logits(
            source or teacher(), split, cache=RUNS / f"{label}_{len(split)}.safetensors", batch_size=64
        ).float()


def vocabulary() -> list[int]:
    """The tokens that get a row of their own in a trimmed embedding."""
    splits = [data.load("sentiment", domain=domain).train for domain in data.SENTIMENT_DOMAINS]
    return distillation.frequent_tokens(splits, ROWS)


@dataclass(frozen=True)
class Case:
    """One way to a student: its shape, what it reads, and what it is asked to match.

    Args:
        rewritten: whether it reads ``rewritten_text``, too.
        source: name of the case whose student it starts from and listens to, beside the original teacher.
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
    # three stages with as many passes in all as "tenth": half twice, middle and tenth once
    "middle": Case(MIDDLE, False, source="half", epochs=1, learning_rate=5e-4),
    "tenth_in_stages": Case(TENTH, True, source="middle", epochs=1),
}


def student_of(source: nn.Module, case: Case) -> nn.Module:
    """An untrained student; where it is slim, its word embedding is trimmed and factorised."""
    extra = {"embedding_rows": ROWS, "embedding_factor": FACTOR} if case.slim else {}
    narrower = case.shape["hidden_size"] < TEACHER_WIDTH
    return distillation.bert_student(
        source, distillation.BertSize(**case.shape, **extra), tokens=vocabulary() if case.slim else None,
        layers=case.layers, sentences=movies().train if narrower else None, initialise=case.initialise,
    )  # fmt: skip


def reading(case: Case, seed: int) -> tuple[Split | None, Split | None, torch.Tensor]:
    """Labelled sentences, sentences without labels, and what is heard about the first and then the second."""
    labelled = movies().train if case.labels else None
    unlabelled = [] if case.labels else [movies().train]
    unlabelled += [transfer_text()] if case.transfer else []
    unlabelled += [rewritten_text()] if case.rewritten else []
    heard = torch.cat([answers(case, part, seed) for part in (labelled, *unlabelled) if part is not None])
    text: Split | None = None
    for part in unlabelled:
        text, _ = distillation.joined(text, part)
    return labelled, text, heard


def answers(case: Case, split: Split, seed: int) -> torch.Tensor:
    """The teacher's logits; if the student listens to another student as well, the mean of both."""
    if case.source is None:
        return teacher_answers(split)
    label = f"{case.source}_{seed}"
    return torch.lerp(teacher_answers(split), teacher_answers(split, source_of(case, seed), label), 0.5)


def source_of(case: Case, seed: int) -> nn.Module:
    """The model from whose weights the student starts."""
    return storage.load(kept(case.source, seed)) if case.source else teacher()


def train_case(name: str, seed: int) -> nn.Module:
    """Train one student; an interrupted training goes on from its checkpoint. A whole word embedding stays as it is."""
    case = CASES[name]
    train, transfer, heard = reading(case, seed)
    torch.manual_seed(seed)
    student: Any = student_of(source_of(case, seed), case)
    if not case.slim:
        student.bert.embeddings.word_embeddings.requires_grad_(False)
    if case.rewritten:  # text that is new nearly every time takes the place of dropout
        for module in student.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    checkpoint = RUNS / f"{name}_{seed}.checkpoint"
    result = distillation.distil(
        teacher(), student, train, recipe=case.recipe, transfer=transfer, targets=heard, epochs=case.epochs,
        learning_rate=case.learning_rate, seed=seed, checkpoint=checkpoint, **OPTIONS,
    )  # fmt: skip
    if result.history.interrupted:
        raise OutOfTimeError(name)
    checkpoint.unlink(missing_ok=True)
    return result.model.requires_grad_(True)


def kept(name: str, seed: int, make: Callable[[str, int], nn.Module] = train_case) -> Path:
    """File in runs/ of a student that is trained at most once."""
    file = RUNS / f"{name}_{seed}.safetensors"
    if not file.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        storage.save(make(name, seed), file, dtype="fp16")
        print(f"{name}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    return file


@contextmanager
def time_limit(seconds: int) -> Any:
    """Interrupt what runs inside after so many seconds, as Ctrl+C would; what is trained stays in checkpoints."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    except (KeyboardInterrupt, OutOfTimeError):
        print("out of time; run again to go on", flush=True)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
