"""Measure models and compare them with a baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib import profiling
from course_lib.core.atomic_write import write_atomically
from course_lib.data import Split
from course_lib.report.measuring import Loaded, Model, Protocol, Settings, measure_all, measure_latencies, one_each
from course_lib.report.rows import SETTINGS, Row
from course_lib.report.tables import html, text

if TYPE_CHECKING:
    import pandas

    from course_lib.plots.figure import Picture


class Comparison:
    """Rows of models that were measured in the same way; the first is the baseline.

    Displays itself as a table. ``rows`` holds the figures, ``frame`` is a pandas table of them, ``plot`` draws size
    against retained accuracy, ``add`` measures further models without evaluating the others again.
    """

    def __init__(self, measured: Sequence[tuple[Row, Loaded]], protocol: Protocol) -> None:
        self._measured, self.protocol = list(measured), protocol
        rows = [row for row, _ in self._measured]
        if protocol.latency:
            timed = measure_latencies([model for _, model in self._measured], protocol)
            rows = [replace(row, latencies=latencies) for row, latencies in zip(rows, timed, strict=True)]
        self.rows = [rows[0], *(replace(row, before=rows[0]) for row in rows[1:])]

    def add(
        self,
        *models: Model,
        names: Sequence[str] | None = None,
        encoding: Any = "auto",
        dtype: str | Sequence[str] = "fp32",
    ) -> Comparison:
        """A comparison with further rows; latencies are measured again, in turns over all models."""
        names = _names(names, len(models), len(self.rows))
        new = measure_all(models, names, encoding, dtype, self.protocol)
        return Comparison([*self._measured, *new], self.protocol)

    @property
    def frame(self) -> pandas.DataFrame:
        """One line per model; columns as in ``Row.to_dict`` without nested figures, and accuracy by domain."""
        import pandas

        lines = []
        for row in self.rows:
            figures = row.to_dict()
            domains = {f"accuracy {name}": value for name, value in figures["domains"].items()}
            lines.append({key: value for key, value in figures.items() if not isinstance(value, dict | list)} | domains)
        return pandas.DataFrame(lines).set_index("name")

    def to_dict(self) -> dict[str, Any]:
        """Split, number of examples, machine, and the figures of every row."""
        return {
            "split": f"{self.protocol.on.dataset}/{self.protocol.on.name}",
            "examples": len(self.protocol.on),
            "machine": str(profiling.machine()),
            "rows": [row.to_dict() for row in self.rows],
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """``to_dict`` as JSON text, also written to ``path`` if given."""
        content = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        if path is not None:
            write_atomically(path, content)
        return content

    def plot(self) -> Picture:
        """Stored size against retained accuracy, with intervals."""
        from course_lib import plots

        return plots.size_front(
            [row.name for row in self.rows],
            [row.stored_bytes for row in self.rows],
            [row.retained for row in self.rows],
            [row.retained_interval if row.before else None for row in self.rows],
        )

    def __repr__(self) -> str:
        return f"{text(self.rows)}\n{self.protocol.note(self.rows[0])}"

    def _repr_html_(self) -> str:
        return html(self.rows, self.protocol.note(self.rows[0]))


class SingleRow(Row):
    """A row on its own, which displays itself as a comparison of one row."""

    def __str__(self) -> str:
        return text([self])

    def _repr_html_(self) -> str:
        return html([self], "")


def measure(
    model_or_path: Model,
    *,
    on: Split,
    name: str | None = None,
    encoding: Any = "auto",
    dtype: str = "fp32",
    domains: Mapping[str, Split] | None = None,
    latency: bool = True,
    memory: bool = True,
    settings: Settings = SETTINGS,
    runs: int = 30,
    progress: bool = True,
) -> SingleRow:
    """The row of one model, or of a file that ``storage.save`` wrote; arguments as in ``compare``."""
    if name is None:
        name = Path(model_or_path).stem if isinstance(model_or_path, str | Path) else type(model_or_path).__name__
    protocol = Protocol(on, dict(domains or {}), latency, memory, settings, runs, progress)
    row = Comparison(measure_all([model_or_path], [name], encoding, dtype, protocol), protocol).rows[0]
    return SingleRow(**{field.name: getattr(row, field.name) for field in fields(row)})


def compare(
    before: Model,
    *after: Model,
    on: Split,
    names: Sequence[str] | None = None,
    encoding: Any = "auto",
    dtype: str | Sequence[str] = "fp32",
    domains: Mapping[str, Split] | None = None,
    latency: bool = True,
    memory: bool = True,
    settings: Settings = SETTINGS,
    runs: int = 30,
    progress: bool = True,
) -> Comparison:
    """Measure size, quality, work, time and memory of ``before`` and each of ``after``.

    Each model is saved, and the model loaded from that file is measured: the accuracy of ``dtype="fp16"`` is that of
    fp16 weights. A path is measured as it is. So is a ``profiling.Deployed`` file (not as ``before``), whose accuracy
    is that of its runtime. Times are measured in turns over all models.

    Args:
        on: the split whose accuracy is reported: test, or validation for tuning.
        names: one name per model, the baseline first.
        encoding: as in ``storage.save``; a list holds one per model, the baseline first.
        dtype: ``"fp32"`` or ``"fp16"`` of the stored values, or a list of them.
        domains: name → further splits to evaluate.
        latency: measure time; ``settings`` are pairs of batch size and threads, the first is the headline.
        memory: measure peak memory, in a fresh process per model.
        runs: timed runs per model and runtime; a third of them for batches above 1, and fewer where a setting would
            take more than half a minute.

    Raises:
        ValueError: if a model cannot be stored, or a list has another length than there are models.
        RuntimeMismatchError: if logits of ONNX Runtime and of eager PyTorch differ.
    """
    protocol = Protocol(on, dict(domains or {}), latency, memory, settings, runs, progress)
    models = [before, *after]
    return Comparison(measure_all(models, _names(names, len(models), 0), encoding, dtype, protocol), protocol)


def _names(names: Sequence[str] | None, count: int, existing: int) -> list[str]:
    if names is None:
        return [f"model {existing + index}" if existing + index else "before" for index in range(count)]
    return [str(name) for name in one_each("names", list(names), count)]
