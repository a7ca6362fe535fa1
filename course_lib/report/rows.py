"""One model, measured; and what it is relative to the model before."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from course_lib.profiling import Latency, PeakMemory
from course_lib.report.statistics import paired_bootstrap
from course_lib.training import Evaluation


class Setting(NamedTuple):
    """What a latency was measured with: ``"onnx"`` or ``"eager"``, examples per batch, threads."""

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
    """Everything that is known about one stored model.

    Args:
        stored_bytes: size of the file.
        stored_as: encodings and value types in the file, for example ``"bitmask, dense fp16"``.
        macs: multiply-accumulates for one example.
        evaluation: every answer on the split that is reported.
        domains: name → answers on further splits.
        latencies: empty if they were not measured.
        memory: ``None`` if it was not measured.
        before: the row that this one is compared with; ``None`` for the baseline itself.
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
        """How many times smaller the file is than before."""
        return self._reference.stored_bytes / self.stored_bytes

    @property
    def retained(self) -> float:
        """Accuracy as a fraction of the accuracy before."""
        return _over(self.accuracy, self._reference.accuracy)

    @cached_property
    def retained_interval(self) -> tuple[float, float]:
        """95 % interval of ``retained`` (paired bootstrap)."""
        return paired_bootstrap(self._reference.evaluation.correct, self.evaluation.correct)

    @property
    def retained_domains(self) -> dict[str, float]:
        """``retained`` on each further split."""
        before = self._reference.domains
        return {name: _over(result.accuracy, before[name].accuracy) for name, result in self.domains.items()}

    @property
    def speedup(self) -> float | None:
        """Time before / time now, both on ONNX Runtime in the headline setting; ``None`` if it was not measured."""
        return self.speedup_at(self.headline)

    @property
    def speedup_over_eager(self) -> float | None:
        """Time before on eager PyTorch / time now on ONNX Runtime; part of it is the runtime's own doing."""
        slow = self._reference.latencies.get(self.headline._replace(runtime="eager"))
        fast = self.latencies.get(self.headline)
        return slow.p50_ms / fast.p50_ms if slow and fast else None

    def speedup_at(self, setting: Setting) -> float | None:
        """Time before / time now on the same runtime in ``setting``."""
        slow, fast = self._reference.latencies.get(setting), self.latencies.get(setting)
        return slow.p50_ms / fast.p50_ms if slow and fast else None

    @property
    def headline(self) -> Setting:
        """The first setting that was measured on ONNX Runtime (``HEADLINE`` unless another was asked for)."""
        return next(iter(self.latencies), HEADLINE)

    @property
    def per_class(self) -> dict[str, float]:
        """Class → accuracy."""
        return self.evaluation.per_class()

    @property
    def _reference(self) -> Row:
        return self.before or self

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain numbers (``None`` where there is none); the last three entries are nested."""
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

    def __str__(self) -> str:
        from course_lib.report.tables import text

        return text([self])

    def _repr_html_(self) -> str:
        from course_lib.report.tables import html

        return html([self], "")


def _over(after: float, before: float) -> float:
    return after / before if before else float("nan")
