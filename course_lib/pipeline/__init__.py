"""Pipelines: compression techniques one after another, described in Python or YAML, cached and resumable.

    plan = Pipeline(
        [step("prune", sparsity=0.9, epochs=1), step("quantize", method="uniform", c=5e-5), step("code")],
        model="resnet18", data="fashion_mnist",
    )
    result = run(plan, cache="runs/pipeline")
    result.file, result.comparison      # the coded file; one row for each step

``sweep`` runs many pipelines on Dask workers and appends one line of JSON for each to a results file.
"""

from course_lib.pipeline.records import append_record, read_records
from course_lib.pipeline.running import PipelineResult, StepResult, run
from course_lib.pipeline.schema import PipelineError, schema
from course_lib.pipeline.specification import Pipeline, Step, load, load_sweep, step
from course_lib.pipeline.steps import STEPS
from course_lib.pipeline.sweeping import sweep

__all__ = [
    "STEPS", "Pipeline", "PipelineError", "PipelineResult", "Step", "StepResult", "append_record", "load",
    "load_sweep", "read_records", "run", "schema", "step", "sweep",
]  # fmt: skip
