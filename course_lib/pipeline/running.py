"""Running a pipeline: step after step, each from the file of the one before, so that a killed run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from course_lib import assets, data, models, report, storage
from course_lib.core.formatting import byte_size
from course_lib.core.validation import check_choice, error_prefix
from course_lib.data import Split, Splits
from course_lib.pipeline.cache import Entry, data_digest, file_digest, key_of, original_file
from course_lib.pipeline.context import Context
from course_lib.pipeline.schema import PipelineError
from course_lib.pipeline.specification import Pipeline, Step
from course_lib.pipeline.steps import STEPS
from course_lib.report import Comparison


@dataclass(frozen=True)
class StepResult:
    """One finished step: the file of its model, the seconds that it took, and whether it came from the cache."""

    step: Step
    file: Path
    seconds: float
    reused: bool
    key: str


@dataclass(frozen=True)
class PipelineResult:
    """A finished pipeline.

    Args:
        steps: one for each step; the file of the last one is the result.
        comparison: a row for the original and one for each step (design of ``report.compare``).
    """

    pipeline: Pipeline
    original: Path
    steps: list[StepResult]
    comparison: Comparison = field(repr=False)

    @property
    def file(self) -> Path:
        """The final file."""
        return self.steps[-1].file

    @cached_property
    def model(self) -> nn.Module:
        """The model of the final file."""
        return storage.load(self.file)

    def to_dict(self) -> dict[str, Any]:
        """Pipeline, steps with seconds, and the figures of every row."""
        steps = [
            {"step": one.step.to_dict(), "file": str(one.file), "seconds": one.seconds, "reused": one.reused}
            for one in self.steps
        ]
        return {"pipeline": self.pipeline.to_dict(), "steps": steps, "comparison": self.comparison.to_dict()}

    def __repr__(self) -> str:
        return f"{self.comparison}\nfile: {self.file}"

    def _repr_html_(self) -> str:
        return self.comparison._repr_html_()


def run(
    pipeline: Pipeline,
    *,
    model: nn.Module | str | Path | None = None,
    splits: Splits | None = None,
    cache: str | Path | None = None,
    on: str = "validation",
    progress: bool = True,
    **measurement: Any,
) -> PipelineResult:
    """Run every step that is not in the cache, and measure the files of all of them.

    Args:
        model: where the steps begin; that of the pipeline by default. It is never changed.
        splits: data; those that the pipeline names by default.
        cache: folder of finished steps; one for all runs by default.
        on: split of the rows: ``"validation"`` to compare pipelines, ``"test"`` once for the reported number.
        measurement: options of ``report.compare``, such as ``latency``, ``memory`` or ``runs``.

    Raises:
        PipelineError: if model or data are missing.
        ValueError: if the data does not fit the model, or a step (which is named) cannot be applied to this model or
            changes the number of classes. Steps before it stay in the cache.
    """
    check_choice("on", on, data.SPLIT_NAMES)
    folder = Path(cache) if cache is not None else assets.cache_folder() / "pipeline"
    splits, source = splits or splits_of(pipeline), model_of(pipeline, model)
    original = original_file(source, folder)
    steps = list(run_steps(pipeline, original, splits, folder, progress=progress))
    names = ["original", *(one.step.label for one in steps)]
    comparison = report.compare(
        original, *(one.file for one in steps), on=getattr(splits, on), names=names, progress=progress, **measurement
    )
    return PipelineResult(pipeline, original, steps, comparison)


def run_steps(
    pipeline: Pipeline, original: Path, splits: Splits, folder: Path, *, progress: bool = False
) -> Iterator[StepResult]:
    """The result of each step as it is finished, without measuring them; see ``run``."""
    model = storage.load(original)
    classes = check_data(model, splits)
    origin, examples, file = file_digest(original), data_digest(splits), original
    for number, (step, arguments) in enumerate(pipeline.complete(), 1):
        key = key_of(
            input=file_digest(file), original=origin, step=step.name, arguments=arguments, data=examples,
            seed=pipeline.seed,
        )  # fmt: skip
        context = Context(model, splits, folder, key, origin, pipeline.seed, progress)
        with error_prefix(f"step {number} ({step.name})"):
            result = run_step(step, arguments, file, context, classes)
        if progress:
            state = "cached" if result.reused else f"{result.seconds:.1f} s"
            tqdm.write(
                f"step {number}, {step.label}: {byte_size(result.file.stat().st_size)} ({state})", file=sys.stderr
            )
        file = result.file
        yield result


def run_step(step: Step, arguments: dict[str, Any], file: Path, context: Context, classes: int) -> StepResult:
    """One step from the model in ``file``, or its result from the cache."""
    entry = Entry(context.folder, context.name)
    with entry.lock():
        record = entry.read()
        reused = record is not None
        if record is None:
            start = time.perf_counter()
            model = STEPS[step.name](storage.load(file), context, **arguments).eval()
            check_classes(model, context.splits.validation, classes)
            form = arguments if step.name == "code" else None
            record = entry.write(model, form, step=step.name, arguments=arguments, seconds=time.perf_counter() - start)
            context.checkpoint.unlink(missing_ok=True)
    return StepResult(step, entry.file, record["seconds"], reused, context.name)


def splits_of(pipeline: Pipeline) -> Splits:
    """The data that a pipeline names."""
    if pipeline.data is None:
        raise PipelineError("the pipeline names no data; add `data: fashion_mnist`, or pass splits=…")
    return data.load(pipeline.data, domain=pipeline.domain) if pipeline.domain else data.load(pipeline.data)


def model_of(pipeline: Pipeline, model: nn.Module | str | Path | None) -> nn.Module | str | Path:
    """The model that is given, or that the pipeline names."""
    found = model if model is not None else pipeline.model
    if found is None:
        raise PipelineError("the pipeline names no model; add `model: resnet18`, or pass model=…")
    return found


def check_data(model: nn.Module, splits: Splits) -> int:
    """Number of classes of the model's outputs, after checking that the labels fit.

    Raises:
        ValueError: if a split is empty, train has labels of one class only, or labels lie beyond the outputs.
    """
    for name in ("train", "validation"):
        if len(getattr(splits, name)) == 0:
            raise ValueError(f"split {name!r} is empty; give at least a few dozen examples")
    labels = splits.train.labels
    if len(labels.unique()) < 2:
        raise ValueError(f"train has examples of one class only (label {int(labels[0])}); give at least two classes")
    classes = count_outputs(model, splits.validation)
    highest = max(int(splits.train.labels.max()), int(splits.validation.labels.max()))
    if highest >= classes:
        raise ValueError(f"labels go up to {highest}, but the model has {classes} outputs; they must be below that")
    return classes


@torch.no_grad()
def count_outputs(model: nn.Module, split: Split) -> int:
    """Width of the model's logits."""
    with models.evaluating(model):
        return models.forward(model, split.example(1)).shape[-1]


def check_classes(model: nn.Module, split: Split, classes: int) -> None:
    """Raise ``PipelineError`` if a step has changed the number of classes."""
    found = count_outputs(model, split)
    if found != classes:
        raise PipelineError(
            f"it changed the number of classes from {classes} to {found}; give the student as many outputs as the "
            "original, for example num_classes or num_labels in its arguments"
        )
