"""The ``course`` command: each subcommand opens its room only when it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from course_lib.assets import AssetError

USER_ERRORS = (ValueError, OSError, AssetError)


class _OneLineErrors(TyperGroup):
    """What a person can put right is told in one line with exit code 2; what is our fault keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except USER_ERRORS as error:
            typer.echo(f"course: {str(error).strip() or type(error).__name__}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_OneLineErrors, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Neural-network compression: measure models, run the lessons, check the exercises.",
)  # fmt: skip

Notebooks = Annotated[list[Path] | None, typer.Argument(help="notebook files", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


@app.command()
def measure(
    model: Annotated[
        str, typer.Argument(help="resnet18, minilm, a stored file, or a torchvision or Hugging Face name")
    ],
    split: Annotated[str, typer.Option(help="the split that accuracy is measured on")] = "test",
    as_json: AsJson = False,
) -> None:
    """Print stored size, work, accuracy, latency and memory of one model."""
    from course_lib import report
    from course_lib.cli import model_lookup

    subject = model_lookup.find(model, split)
    row = report.measure(subject.file or subject.model, on=subject.split, name=subject.name)
    typer.echo(json.dumps(row.to_dict(), indent=1) if as_json else str(row))


@app.command()
def doctor() -> None:
    """Say what this machine is and what that means for the lessons; exit code 1 if something is missing."""
    from course_lib import doctor

    diagnosis = doctor.examine()
    typer.echo(str(diagnosis))
    raise typer.Exit(0 if diagnosis.ok else 1)


@app.command()
def run(
    lessons: Annotated[list[str] | None, typer.Argument(help="numbers such as 00 03, or files; default: all")] = None,
    save: Annotated[bool, typer.Option("--save", help="store the outputs in the notebooks themselves")] = False,
    timeout: Annotated[float, typer.Option(help="seconds that one cell may take")] = 300,
) -> None:
    """Execute lessons from top to bottom; copies and a summary go to runs/. Exit code 1 if a cell fails."""
    from course_lib.notebook import runner

    results = runner.run(lessons or [], save=save, timeout=timeout)
    typer.echo("\n" + runner.summary(results))
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


@app.command()
def build(
    solutions: Notebooks = None,
    check: Annotated[bool, typer.Option("--check", help="write nothing; exit code 1 if a file would change")] = False,
) -> None:
    """Make exercises/ from solutions/."""
    from course_lib import grading

    changed = grading.build(solutions or [], check=check)
    for path in changed:
        typer.echo(f"{'differs' if check else 'written'}: {path}")
    typer.echo(f"{len(changed)} exercises {'differ from their solutions' if check else 'changed'}")
    raise typer.Exit(1 if check and changed else 0)


@app.command()
def check(
    exercises: Annotated[list[Path], typer.Argument(help="your exercise notebooks", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Give the points of each question of your own notebook; exit code 1 if some are missing."""
    from course_lib import grading

    results = grading.check(exercises)
    facts = [result.to_dict() for result in results]
    typer.echo(json.dumps(facts, indent=1) if as_json else grading.summary(results))
    raise typer.Exit(0 if all(result.complete for result in results) else 1)


@app.command()
def grade(
    submissions: Annotated[list[Path], typer.Argument(help="notebooks, folders, nbgrader's submitted/, zip exports")],
    out: Annotated[Path, typer.Option(help="folder for gradebook, tables and feedback")],
    level: Annotated[
        str, typer.Option(help="auto, bwrap, container, or process: no protection, for code that you trust")
    ] = "auto",
    allow_unsandboxed: Annotated[bool, typer.Option("--allow-unsandboxed", help="accept level process")] = False,
    gradebook: Annotated[str | None, typer.Option(help="SQLAlchemy URL; a SQLite file in --out by default")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler")] = None,
    workers: Annotated[int | None, typer.Option(help="processes on this machine; one per core by default")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="such as memory_mb=4096 or question_seconds=30; can be repeated")
    ] = None,
    on_flag: Annotated[str, typer.Option(help="report or zero, for answers that take a shortcut")] = "report",
    due: Annotated[str | None, typer.Option(help="such as 2026-11-30T23:59; needs --late-penalty")] = None,
    late_penalty: Annotated[str | None, typer.Option(help="such as 10%/day, 1%/hour or 20%; needs --due")] = None,
) -> None:
    """Grade a class in the sandbox; resumes where it stopped. Exit code 1 if a submission had to be set aside."""
    from course_lib.grading import classroom, late, sandbox

    if (due is None) != (late_penalty is None):
        raise ValueError("--due and --late-penalty belong together; only one of them was given")
    report = classroom.grade_class(
        submissions, out, level=level, allow_unsandboxed=allow_unsandboxed, gradebook_url=gradebook,
        scheduler=scheduler, workers=workers, on_flag=on_flag, limits=sandbox.limits(limit or []),
        late_rule=late.rule(due, late_penalty) if due and late_penalty else None,
    )  # fmt: skip
    typer.echo(str(report))
    raise typer.Exit(1 if report.set_aside else 0)


@app.command("verify-assets")
def verify_assets() -> None:
    """Compare every shipped file with its sha256; exit code 1 if one is missing or damaged."""
    from course_lib import assets

    problems = assets.verify()
    typer.echo("\n".join(problems) or f"{len(assets.manifest())} shipped files verified")
    raise typer.Exit(1 if problems else 0)


def main() -> None:
    """Entry point of the ``course`` command."""
    app()
