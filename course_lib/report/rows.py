"""Everything measured of one model, in itself and relative to the baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from course_lib.profiling import Latency, PeakMemory
from course_lib.report.statistics import paired_bootstrap
from course_lib.training import Evaluation


class Setting(NamedTuple):
    """Settings of a latency: runtime (``"onnx"`` or ``"eager"``), batch size, threads."""

    runtime: str
    batch: int
    threads: int

    def __str__(self) -> str:
        runtime = {"onnx": "ONNX Runtime", "eager": "eager PyTorch"}[self.runtime]
        return f"{runtime}, batch {self.batch}, {self.threads} thread{'s' if self.threads > 1 else ''}"


HEADLINE = Setting("onnx", 1, 2)
SETTINGS = ((1, 2), (32, 2), (1, 1))
"""Pairs of batch size and threads; the first is the headline."""


@dataclass(frozen=True)
class Row:
    """Measurements of one stored model.

    Args:
        stored_bytes: size of the file.
        stored_as: encodings and value types in the file, for example ``"bitmask, dense fp16"``.
        macs: multiply-accumulates for one example.
        evaluation: answers on the reported split.
        domains: name → answers on further splits.
        latencies: empty if they were not measured.
        memory: ``None`` if it was not measured.
        before: the row of the baseline; ``None`` for the baseline itself.
    """

    name: str
    stored_bytes: int
    stored_as: str
    parameters: int
    nonzeros: int
    macs: int
    evaluation: Evaluation = field(repr=False)
    domains: dict[str, Evaluation] = field(default_factory=dict, repr=False)
    latencies: dict[Setting, Latency] = field(default_factory=dict, repr=False)
    memory: PeakMemory | None = None
    before: Row | None = field(default=None, repr=False)

    @property
    def accuracy(self) -> float:
        """Fraction of right answers."""
        return self.evaluation.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy."""
        return self.evaluation.interval

    @property
    def sparsity(self) -> float:
        """Fraction of parameters that are zero."""
        return 1 - self.nonzeros / self.parameters if self.parameters else 0.0

    @property
    def ratio(self) -> float:
        """Stored bytes of the baseline / stored bytes of this model."""
        return self._reference.stored_bytes / self.stored_bytes

    @property
    def retained(self) -> float:
        """Accuracy as a fraction of the baseline's accuracy."""
        return _fraction(self.accuracy, self._reference.accuracy)

    @cached_property
    def retained_interval(self) -> tuple[float, float]:
        """95 % interval of ``retained`` (paired bootstrap)."""
        return paired_bootstrap(self._reference.evaluation.correct, self.evaluation.correct)

    @property
    def retained_domains(self) -> dict[str, float]:
        """``retained`` on each further split."""
        before = self._reference.domains
        return {name: _fraction(result.accuracy, before[name].accuracy) for name, result in self.domains.items()}

    @property
    def speedup(self) -> float | None:
        """Latency of the baseline / latency, on ONNX Runtime in the headline setting; ``None`` if not measured."""
        return self.speedup_at(self.headline)

    @property
    def speedup_over_eager(self) -> float | None:
        """Latency of the baseline in eager PyTorch / latency on ONNX Runtime; part of it is due to the runtime."""
        return self._speedup(self.headline._replace(runtime="eager"), self.headline)

    def speedup_at(self, setting: Setting) -> float | None:
        """Latency of the baseline / latency, on the same runtime in ``setting``; ``None`` if not measured."""
        return self._speedup(setting, setting)

    @property
    def headline(self) -> Setting:
        """The first measured setting; ``HEADLINE`` unless other settings were given."""
        return next(iter(self.latencies), HEADLINE)

    @property
    def per_class(self) -> dict[str, float]:
        """Class → accuracy."""
        return self.evaluation.per_class()

    @property
    def _reference(self) -> Row:
        return self.before or self

    def _speedup(self, before: Setting, now: Setting) -> float | None:
        slow, fast = self._reference.latencies.get(before), self.latencies.get(now)
        return slow.p50_ms / fast.p50_ms if slow and fast else None

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain numbers, ``None`` if not measured; the last three entries are nested."""
        figures: dict[str, Any] = {
            "name": self.name, "stored_bytes": self.stored_bytes, "stored_as": self.stored_as, "ratio": self.ratio,
            "parameters": self.parameters, "nonzeros": self.nonzeros, "sparsity": self.sparsity, "macs": self.macs,
            "examples": len(self.evaluation.labels), "accuracy": self.accuracy, "accuracy_low": self.interval[0],
            "accuracy_high": self.interval[1], "retained": self.retained, "retained_low": self.retained_interval[0],
            "retained_high": self.retained_interval[1], "speedup": self.speedup,
            "speedup_over_eager": self.speedup_over_eager,
            "peak_memory_mb": self.memory.peak_mb if self.memory else None,
            "memory_above_libraries_mb": self.memory.model_mb if self.memory else None,
        }  # fmt: skip
        return {key: None if value != value else value for key, value in figures.items()} | {
            "per_class": self.per_class,
            "domains": {name: result.accuracy for name, result in self.domains.items()},
            "latency_ms": [
                {**setting._asdict(), "p50": latency.p50_ms, "p95": latency.p95_ms, "runs": latency.runs}
                for setting, latency in self.latencies.items()
            ],
        }


def _fraction(after: float, before: float) -> float:
    return after / before if before else float("nan")
