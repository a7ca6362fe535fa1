"""A pipeline as data: its steps with their arguments, the model, the data and the seed; in Python or YAML."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from course_lib.pipeline.order import check_order
from course_lib.pipeline.schema import PipelineError, check_document, complete_arguments


@dataclass(frozen=True)
class Step:
    """One step: its name, and its arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and the arguments that were given, such as ``"prune sparsity=0.9"``."""
        return " ".join([self.name, *(f"{key}={_short(value)}" for key, value in self.arguments.items())])

    def to_dict(self) -> dict[str, Any] | str:
        """The step as it stands in YAML."""
        return {self.name: dict(self.arguments)} if self.arguments else self.name


def step(name: str, **arguments: Any) -> Step:
    """A step by its name and arguments; they are checked when the pipeline is made."""
    return Step(name, arguments)


@dataclass(frozen=True)
class Pipeline:
    """Steps that run one after another.

    Args:
        steps: see ``STEPS``; a step may be a ``Step``, its name, or a mapping from its name to its arguments.
        model: name of a shipped model, or a file that ``storage.save`` wrote; may be given to ``run`` instead.
        data: name of a shipped data set; may be given to ``run`` instead.
        domain: of ``sentiment``.
        seed: of training, subsets and calibration.
        name: in tables and results.

    Raises:
        PipelineError: if a step or an argument is unknown or out of range, or the order is impossible.
    """

    steps: Sequence[Any]
    model: str | None = None
    data: str | None = None
    domain: str | None = None
    seed: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        steps = tuple(_as_step(entry, number) for number, entry in enumerate(self.steps, 1))
        for number, one in enumerate(steps, 1):
            complete_arguments(one.name, one.arguments, f"step {number}")
        check_order([(one.name, one.arguments) for one in steps])
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "name", self.name or " → ".join(one.label for one in steps))

    def complete(self) -> list[tuple[Step, dict[str, Any]]]:
        """Each step with all its arguments, those that were not given with their defaults."""
        return [(one, complete_arguments(one.name, one.arguments, one.name)) for one in self.steps]

    def to_dict(self) -> dict[str, Any]:
        """The pipeline as it stands in YAML."""
        facts = {"name": self.name, "model": self.model, "data": self.data, "domain": self.domain, "seed": self.seed}
        present = {key: value for key, value in facts.items() if value is not None}
        return {**present, "steps": [one.to_dict() for one in self.steps]}

    def to_yaml(self) -> str:
        """Text of a pipeline file."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def load(path: str | Path) -> Pipeline:
    """The pipeline of a YAML file.

    Raises:
        FileNotFoundError: if there is no such file.
        PipelineError: if it cannot be read, or as ``Pipeline``.
    """
    document = _read(path)
    if "sweep" in document or "pipelines" in document:
        raise PipelineError(f"{path} describes a sweep; run it with `course pipeline sweep`, or load_sweep")
    return _from_document(document)


def load_sweep(path: str | Path) -> dict[str, Pipeline]:
    """Name → pipeline of a YAML file with ``pipelines``, or with ``sweep`` and placeholders ``$name`` in its steps.

    Every combination of the values of ``sweep`` is one pipeline.

    Raises:
        FileNotFoundError, PipelineError: as ``load``; also if a placeholder has no values or values have none.
    """
    document = _read(path)
    grid, listed = document.pop("sweep", {}), document.pop("pipelines", None)
    if listed is not None:
        if "steps" in document or grid:
            raise PipelineError(f"{path} has 'pipelines' beside 'steps' or 'sweep'; keep one of them")
        return {name: _from_document({**document, "steps": steps, "name": name}) for name, steps in listed.items()}
    if unused := [name for name in grid if f"${name}" not in str(document.get("steps"))]:
        raise PipelineError(f"sweep lists {unused[0]!r}, but no step holds ${unused[0]}; put it where it belongs")
    found = {}
    for values in _combinations(grid):
        name = " ".join(f"{key}={_short(value)}" for key, value in values.items())
        found[name or str(path)] = _from_document({**_filled(document, values), "name": name})
    return found


def _combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """``value`` with every placeholder ``$name`` replaced."""
    if isinstance(value, Mapping):
        return {key: _filled(entry, values) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, values) for entry in value]
    if isinstance(value, str) and value.startswith("$"):
        if value[1:] not in values:
            raise PipelineError(f"placeholder {value} has no values; add `sweep: {{{value[1:]}: [...]}}`")
        return values[value[1:]]
    return value


def _read(path: str | Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"{path} is not valid YAML: {reason}") from error
    check_document(document)
    return dict(document)


def _from_document(document: Mapping[str, Any]) -> Pipeline:
    check_document(document)
    if "steps" not in document:
        raise PipelineError("a pipeline needs 'steps', a list such as `- prune: {sparsity: 0.9}`")
    return Pipeline(**document)


def _as_step(entry: Any, number: int) -> Step:
    if isinstance(entry, Step):
        return entry
    if isinstance(entry, str):
        return Step(entry)
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, arguments),) = entry.items()
        if arguments is None or isinstance(arguments, Mapping):
            return Step(str(name), dict(arguments or {}))
    raise PipelineError(f"step {number} must be a name, or one name with its arguments, got {entry!r}")


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("builder") or next(iter(value), ""))
    return f"{value:g}" if isinstance(value, float) else str(value)
