"""Parts of every benchmark: its arguments, a header that names the machine, tables, results on disk, and cards.

A short benchmark measures all its tables in one run:

results = Results(__doc__, parser(__doc__).parse_args(), runs=5)
results.table("loading", [{"model": "resnet18", "seconds": 0.21}])
results.save()

A long one has parts, each of which is merged into the results file of the package when it is finished:

results = run_parts(parser(__doc__, parts=PARTS).parse_args(), "pruning", PARTS, splits)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor

from course_lib import assets, data, models, profiling, report, training
from course_lib.core.atomic_write import write_atomically
from course_lib.core.formatting import compact
from course_lib.report.tables import text_table

QUICK_RUNS = 15
RESULTS, CARDS = assets.FOLDER / "results", assets.FOLDER / "cards"
TEMPLATES = Path(__file__).parent / "cards"
PARTS_NOTE = "Each part is merged into the results file when it is done; an interrupted training resumes from runs/."
Row = dict[str, Any]
Part = Callable[..., Iterable[Row]]


def parser(
    description: str | None, quick: str = "fewer runs, smaller splits", parts: Iterable[str] = ()
) -> argparse.ArgumentParser:
    """The arguments of every benchmark; add further ones before parsing.

    Args:
        description: text of --help.
        quick: effect of --quick, for --help.
        parts: names for --only, all of them by default; without names there is no --only.
    """
    names = list(parts)
    result = argparse.ArgumentParser(
        description=description, epilog=PARTS_NOTE if names else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    result.add_argument("--quick", action="store_true", help=f"at most 3 minutes: {quick}")
    where = "merge the results into this file instead" if names else "write the results there as well"
    result.add_argument("--json", type=Path, metavar="FILE", help=where)
    if names:
        result.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    return result


def quality(after: training.Evaluation, before: training.Evaluation) -> Row:
    """Accuracy with its interval, and the retained ratio with the interval of the paired bootstrap."""
    low, high = report.paired_bootstrap(before.correct, after.correct)
    return {
        "accuracy": after.accuracy, "accuracy_low": after.interval[0], "accuracy_high": after.interval[1],
        "baseline": before.accuracy, "retained": after.accuracy / before.accuracy,
        "retained_low": low, "retained_high": high,
    }  # fmt: skip


def read(target: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if there is none."""
    return json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}


def write(target: Path, content: Mapping[str, Any], indent: int = 1) -> None:
    """Write a JSON file."""
    write_atomically(target, json.dumps(content, indent=indent) + "\n")


def timed(work: Callable[..., Any], *inputs: Any, **options: Any) -> tuple[float, Any]:
    """Wall-clock seconds of one call, and its result."""
    start = time.perf_counter()
    result = work(*inputs, **options)
    return time.perf_counter() - start, result


def find(table: Mapping[str, Any], **values: Any) -> Row:
    """The first row of a results table that has these values."""
    return next(row for row in table["rows"] if values.items() <= row.items())


def merge(target: Path, table: str, rows: Iterable[Row], key: str | None = None) -> dict[str, Any]:
    """Print ``rows``, replace those of an earlier run in the results file, and return the content of the file.

    Args:
        key: rows of the earlier run with other values of this column are kept, and all are sorted by it.
    """
    rows, results = [dict(row) for row in rows], read(target)
    if key is not None:
        new = {row[key] for row in rows}
        earlier = results.get(table, {}).get("rows", [])
        rows = sorted(rows + [row for row in earlier if row[key] not in new], key=lambda row: row[key])
    shown = [{key: value for key, value in row.items() if not isinstance(value, dict | list)} for row in rows]
    print(f"\n{table}\n{pandas.DataFrame(shown).to_string()}", flush=True)
    results[table] = {"machine": str(profiling.machine()), "threads": torch.get_num_threads(), "rows": rows}
    write(target, results)
    return results


def run_parts(
    arguments: argparse.Namespace,
    name: str,
    parts: Mapping[str, Part],
    *inputs: Any,
    shared: Mapping[str, tuple[str, str]] | None = None,
) -> dict[str, Any]:
    """Measure the parts that were asked for, and merge each into its table of the results file.

    Args:
        name: of the shipped results file, without ending.
        inputs: arguments of every part.
        shared: part → table that it shares with other parts, and the column that tells their rows apart.

    Returns:
        The content of the shipped results file; empty if --json named another one, from which no card is written.
    """
    target = arguments.json or RESULTS / f"{name}.json"
    for part in arguments.only:
        table, key = (shared or {}).get(part, (part, None))
        merge(target, table, parts[part](*inputs), key)
    return {} if arguments.json else read(target)


def write_card(name: str, **values: Any) -> None:
    """Write the card of this name: its template in benchmarks/cards/ with every ``{field}`` filled in."""
    template = (TEMPLATES / f"{name}.md").read_text(encoding="utf-8")
    write_atomically(CARDS / f"{name}.md", template.format(**values))


def table_lines(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


class Results:
    """Tables of one run, printed as they come and written as JSON at the end.

    Args:
        description: the first line is the title.
        arguments: parsed by ``parser``.
        runs: number of measurements of each figure, for the header.
    """

    def __init__(self, description: str | None, arguments: argparse.Namespace, *, runs: int = 1) -> None:
        self.file: Path | None = arguments.json
        self.header = {
            "title": (description or "").strip().splitlines()[0],
            "machine": str(profiling.machine()),
            "threads": torch.get_num_threads(),
            "runs": runs,
            "torch": torch.__version__,
            "quick": bool(arguments.quick),
        }
        self.tables: dict[str, list[Row]] = {}
        self._start = time.perf_counter()
        print(self.header["title"])
        print(f"{self.header['machine']} · {self.header['threads']} threads · {runs} runs · torch {torch.__version__}")

    def table(self, name: str, rows: Iterable[Row]) -> None:
        """Print ``rows`` under ``name`` and keep them; the keys of the first row are the columns."""
        self.tables[name] = rows = [dict(row) for row in rows]
        columns = list(rows[0]) if rows else []
        print(f"\n{name}\n{text_table(columns, [[cell(row.get(key)) for key in columns] for row in rows])}", flush=True)

    def save(self) -> None:
        """Print the elapsed time, and write header and tables to ``--json FILE`` if it was given."""
        seconds = round(time.perf_counter() - self._start, 1)
        print(f"\n{seconds} s")
        if self.file is not None:
            write(self.file, {**self.header, "seconds": seconds, "tables": self.tables})


def cell(value: Any) -> str:
    """A figure as text: floats with three significant digits, whole numbers up to a million with separators."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 1_000_000 else compact(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def points_gained(before: Tensor, after: Tensor) -> Row:
    """Percentage points of accuracy that ``after`` gains over ``before``, with the interval of ``paired_bootstrap``."""
    old, new = before.double().mean().item(), after.double().mean().item()
    low, high = report.paired_bootstrap(before, after)
    return {
        "points": 100 * (new - old), "points_low": 100 * old * (low - 1), "points_high": 100 * old * (high - 1),
        "significant": low > 1 or high < 1,
    }  # fmt: skip


def rows_of(comparison: report.Comparison) -> list[Row]:
    """Print a comparison, and return its rows as the results file stores them."""
    print(comparison)
    return json.loads(comparison.to_json())["rows"]


def retained(row: Row) -> str:
    """Retained accuracy of a row with its interval, as text for a card."""
    return f"{row['retained']:.1%} ({row['retained_low']:.1%} to {row['retained_high']:.1%})"


@cache
def sentiment() -> dict[str, data.Splits]:
    """Domain → its splits."""
    return {domain: data.load("sentiment", domain=domain) for domain in data.SENTIMENT_DOMAINS}


def compare_minilm(smaller: Mapping[str, Any], **options: Any) -> report.Comparison:
    """MiniLM beside smaller ones (name → model or file) on movies, and the accuracy of each in every domain.

    Args:
        options: of ``report.compare``.
    """
    tests = {domain: splits.test for domain, splits in sentiment().items()}
    names = ["baseline", *smaller]
    options = {"on": tests["movies"], "domains": tests, "names": names, **options}
    return report.compare(models.load("minilm"), *smaller.values(), **options)


def measure_shipped(
    description: str | None,
    arguments: argparse.Namespace,
    files: Mapping[str, Any],
    on: data.Split,
    stored: Iterable[Row],
    *,
    baseline: str = "resnet18",
    size: str = "parameters",
    columns: Sequence[str] = (),
    **options: Any,
) -> None:
    """What --quick does: measure files beside their baseline, and print the stored measurements as well.

    Args:
        files: name in the table → name of the asset, or what ``report.compare`` takes.
        size: a column beside those of bytes, accuracy and speed.
        columns: of the stored rows; the same by default.
        options: of ``report.compare``.
    """
    options = {"runs": QUICK_RUNS, "settings": ((1, 2),), "memory": False, **options}
    results = Results(description, arguments, runs=options["runs"])
    compared = [assets.path(file) if isinstance(file, str) else file for file in files.values()]
    comparison = report.compare(models.load(baseline), *compared, on=on, names=[baseline, *files], **options)
    print(f"\n{comparison}")
    shown = ("name", "stored_bytes", size, "accuracy", "retained", "speedup", "speedup_over_eager")
    results.table("now", [{key: row.to_dict()[key] for key in shown} for row in comparison.rows])
    results.table("when shipped", [{key: row.get(key) for key in columns or shown} for row in stored])
    results.save()
