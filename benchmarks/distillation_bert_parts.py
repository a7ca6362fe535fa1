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
THREE_SEEDS = ("tenth", "half")
ROWS, FACTOR = 10_000, 128
TENTH = {"hidden_size": 192, "num_layers": 2, "num_heads": 6, "intermediate_size": 384}
HALF = {"hidden_size": 384, "num_layers": 3, "num_heads": 12, "intermediate_size": 1536}
EPOCHS = {"tenth": 6, "half": 1}
OPTIONS = {"batch_size": 64, "precision": "bf16", "progress": False, "weight_decay": 0.01}
SOFT = distillation.Recipe(alpha=0.9, temperature=4.0)
LABELS_ONLY = distillation.Recipe(alpha=0.0)
# DistilBERT's weights 5 : 2 : 1 of soft targets, task and cosine, divided by the first two (Sanh et al., 2019).
TRIPLE = distillation.Recipe(alpha=5 / 7, temperature=2.0, hidden=1 / 7, hidden_kind="cosine")


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


def teacher_answers(split: Split) -> torch.Tensor:
    """The teacher's logits, in bf16 arithmetic, kept in runs/."""
    with torch.autocast("cpu", torch.bfloat16):
        return distillation.teacher_logits(
            teacher(), split, cache=RUNS / f"teacher_{len(split)}.safetensors", batch_size=64
        ).float()


def vocabulary() -> list[int]:
    """The tokens that get a row of their own in a trimmed embedding."""
    splits = [data.load("sentiment", domain=domain).train for domain in data.SENTIMENT_DOMAINS]
    return distillation.frequent_tokens(splits, ROWS)


def student_of(source: nn.Module, shape: dict[str, int], slim: bool, initialise: str = "teacher") -> nn.Module:
    """A student of this shape; with ``slim``, its word embedding is trimmed and factorised."""
    extra = {"embedding_rows": ROWS, "embedding_factor": FACTOR} if slim else {}
    size = distillation.BertSize(**shape, **extra)
    sentences = movies().train if shape["hidden_size"] < 384 else None
    return distillation.bert_student(
        source, size, tokens=vocabulary() if slim else None, sentences=sentences, initialise=initialise
    )


@dataclass(frozen=True)
class Case:
    """One way to a student: its shape, what it reads, and what it is asked to match."""

    shape: dict[str, int]
    slim: bool
    recipe: distillation.Recipe
    labels: bool = True
    transfer: bool = True
    initialise: str = "teacher"
    epochs: int = EPOCHS["tenth"]
    learning_rate: float = 5e-4


CASES = {
    "tenth": Case(TENTH, True, SOFT),
    "half": Case(HALF, False, TRIPLE, transfer=False, epochs=EPOCHS["half"], learning_rate=1e-4),
    "tenth_labels_only": Case(TENTH, True, LABELS_ONLY, transfer=False),
    "tenth_label_free": Case(TENTH, True, replace(SOFT, alpha=1.0), labels=False),
    "tenth_random_start": Case(TENTH, True, SOFT, initialise="random"),
}


def train_case(name: str, seed: int) -> nn.Module:
    """Train one student; an interrupted training goes on from its checkpoint."""
    case = CASES[name]
    torch.manual_seed(seed)
    student = student_of(teacher(), case.shape, case.slim, case.initialise)
    train = movies().train if case.labels else None
    transfer = transfer_text() if case.transfer else None
    targets = torch.cat([teacher_answers(part) for part in (train, transfer) if part is not None])
    checkpoint = RUNS / f"{name}_{seed}.checkpoint"
    result = distillation.distil(
        teacher(), student, train, recipe=case.recipe, transfer=transfer, targets=targets, epochs=case.epochs,
        learning_rate=case.learning_rate, seed=seed, checkpoint=checkpoint, **OPTIONS,
    )  # fmt: skip
    if result.history.interrupted:
        raise OutOfTimeError(name)
    checkpoint.unlink(missing_ok=True)
    return result.model


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
