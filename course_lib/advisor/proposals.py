"""Pipelines to begin with: a few candidates without training, each run and measured on validation, then ranked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from course_lib import report, storage, training
from course_lib.advisor.case import Case
from course_lib.pipeline import Pipeline, step
from course_lib.pipeline.cache import original_file
from course_lib.pipeline.running import run_steps

RETAINED = 0.99
SHOWN = 3


@dataclass(frozen=True)
class ProposedPipeline:
    """A pipeline and what it reached on validation: bytes, how many times smaller, and the retained accuracy."""

    pipeline: Pipeline
    stored_bytes: int
    ratio: float
    retained: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "pipeline": self.pipeline.to_dict()}

    def __str__(self) -> str:
        return (
            f"{self.pipeline.name}: {self.ratio:.1f}× smaller, retains {100 * self.retained:.1f} % "
            f"({100 * self.low:.1f} to {100 * self.high:.1f} %)"
        )


def candidates(case: Case) -> Iterator[Pipeline]:
    """Pipelines without training, for any model; with embeddings, for transformers too."""
    code = step("code")
    for bits in (8, 4):
        embedding_bits = 8 if any(isinstance(part, nn.Embedding) for part in case.model.modules()) else None
        yield Pipeline([step("quantize", method="rtn", bits=bits, embedding_bits=embedding_bits), code])
    yield Pipeline([step("prune", sparsity=0.5), step("quantize", method="rtn", bits=8), code])


def propose_pipelines(case: Case) -> list[ProposedPipeline]:
    """The best candidates: those that retain 99 % from the smallest file on, then the others by what they retain.

    A candidate that this model does not allow is left out.
    """
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        original = original_file(case.model, Path(folder))
        for pipeline in candidates(case):
            try:
                *_, last = run_steps(pipeline, original, case.splits, Path(folder))
            except ValueError:
                continue
            after = training.evaluate(storage.load(last.file), case.validation)
            low, high = report.paired_bootstrap(case.before.correct, after.correct)
            stored = storage.stored_bytes(last.file)
            ratio, retained = original.stat().st_size / stored, after.accuracy / max(case.before.accuracy, 1e-9)
            measured.append(ProposedPipeline(pipeline, stored, ratio, retained, low, high))
    good = sorted((one for one in measured if one.retained >= RETAINED), key=lambda one: one.stored_bytes)
    rest = sorted((one for one in measured if one.retained < RETAINED), key=lambda one: -one.retained)
    return [*good, *rest][:SHOWN]
