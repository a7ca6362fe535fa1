"""``course pipeline``: run a pipeline file, or a sweep over many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, help="Compress a model by the steps of a YAML file; an interrupted run goes on."
)

PipelineFile = Annotated[Path, typer.Argument(help="YAML file", exists=True, dir_okay=False)]
Cache = Annotated[Path | None, typer.Option(help="folder of finished steps; one for all runs by default")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
INTERRUPTED = "course: interrupted; finished steps are kept, and the same command goes on"


@app.command()
def run(
    file: PipelineFile,
    out: Annotated[Path | None, typer.Option(help="copy the final file to this path")] = None,
    on: Annotated[
        str, typer.Option(help="split of the table: validation, or test once for the final number")
    ] = "validation",
    latency: Annotated[bool, typer.Option(help="measure latency too")] = True,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Run the steps of a pipeline and print a row for each."""
    from course_lib import pipeline
    from course_lib.core.atomic_write import write_atomically

    try:
        result = pipeline.run(pipeline.load(file), cache=cache, on=on, latency=latency, memory=False)
    except KeyboardInterrupt:
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(1) from None
    if out is not None:
        write_atomically(out, result.file.read_bytes())
    typer.echo(json.dumps(result.to_dict(), indent=1) if as_json else str(result))


@app.command()
def sweep(
    file: PipelineFile,
    out: Annotated[Path, typer.Option(help="results, one line of JSON for each pipeline")] = Path("sweep.jsonl"),
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler")] = None,
    workers: Annotated[int | None, typer.Option(help="processes on this machine; one per core by default")] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Run every pipeline of a sweep on Dask workers. Exit code 1 if one of them failed."""
    from course_lib import pipeline

    try:
        records = pipeline.sweep(pipeline.load_sweep(file), out, scheduler=scheduler, workers=workers, cache=cache)
    except KeyboardInterrupt:
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(records, indent=1) if as_json else table(records))
    raise typer.Exit(0 if all(one["status"] == "done" for one in records) else 1)


def table(records: list[dict[str, Any]]) -> str:
    """Records of a sweep as text, the smallest file first; failed ones at the end with their error."""
    from course_lib.core.formatting import byte_size
    from course_lib.report.tables import percent, text_table, times

    done = sorted((one for one in records if one["status"] == "done"), key=lambda one: one["row"]["stored_bytes"])
    rows = [
        [one["name"], byte_size(row["stored_bytes"]), times(row["ratio"]), percent(row["retained"]),
         f"{100 * row['retained_low']:.1f} to {100 * row['retained_high']:.1f} %"]
        for one in done for row in [one["row"]]
    ]  # fmt: skip
    lines = [text_table(["pipeline", "stored", "smaller", "retained", "95 % interval"], rows)] if rows else []
    lines += [f"failed: {one['name']}: {one['error']}" for one in records if one["status"] != "done"]
    return "\n".join(lines)
