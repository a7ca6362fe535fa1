"""What every benchmark shares: its arguments, a header that names the machine, tables, and results on disk.

A short benchmark makes all its tables in one run:

results = Results(__doc__, parser(__doc__).parse_args(), runs=5)
results.table("loading", [{"model": "resnet18", "seconds": 0.21}])
results.save()

A long one is made of parts, each of which is merged into the results file of the package when it is done:

for part in parser(__doc__, parts=PARTS).parse_args().only:
    merge(FILE, part, PARTS[part]())
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor

from course_lib import profiling, report, training
from course_lib.core.atomic_write import write_atomically
from course_lib.core.formatting import compact
from course_lib.report.tables import text_table


def parser(
    description: str | None, quick: str = "fewer runs, smaller splits", parts: Iterable[str] = ()
) -> argparse.ArgumentParser:
    """The arguments of every benchmark; add further ones before parsing.

    Args:
        description: what --help says.
        quick: what --quick does.
        parts: names that --only can choose from, all of them by default; without names there is no --only.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help=f"at most 3 minutes: {quick}")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    if names := list(parts):
        made.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    return made


def quality(after: training.Evaluation, before: training.Evaluation) -> dict[str, Any]:
    """Accuracy with its interval, and the retained ratio with the interval of the paired bootstrap."""
    low, high = report.paired_bootstrap(before.correct, after.correct)
    return {
        "accuracy": after.accuracy, "accuracy_low": after.interval[0], "accuracy_high": after.interval[1],
        "baseline": before.accuracy, "retained": after.accuracy / before.accuracy,
        "retained_low": low, "retained_high": high,
    }  # fmt: skip


def read(target: Path) -> dict[str, Any]:
    """The results file as it is now; empty where there is none."""
    return json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}


def merge(target: Path, table: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Print ``rows``, write them into the results file in place of those of an earlier run, and return the file."""
    kept = [dict(row) for row in rows]
    shown = [{key: value for key, value in row.items() if not isinstance(value, dict | list)} for row in kept]
    print(f"\n{table}\n{pandas.DataFrame(shown).to_string()}", flush=True)
    results = read(target)
    results[table] = {"machine": str(profiling.machine()), "threads": torch.get_num_threads(), "rows": kept}
    write_atomically(target, json.dumps(results, indent=1) + "\n")
    return results


class Results:
    """Tables of one run, printed as they come and written as JSON at the end.

    Args:
        description: the first line is the title.
        arguments: what ``parser`` parsed.
        runs: how often each figure is measured, for the header.
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
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self._start = time.perf_counter()
        print(self.header["title"])
        print(f"{self.header['machine']} · {self.header['threads']} threads · {runs} runs · torch {torch.__version__}")

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Print ``rows`` under ``name`` and keep them; the keys of the first row are the columns."""
        self.tables[name] = [dict(row) for row in rows]
        columns = list(rows[0]) if rows else []
        print(f"\n{name}\n{text_table(columns, [[cell(row.get(key)) for key in columns] for row in rows])}", flush=True)

    def save(self) -> None:
        """Write header and tables to ``--json FILE``, if it was given, and say how long everything took."""
        seconds = round(time.perf_counter() - self._start, 1)
        print(f"\n{seconds} s")
        if self.file is not None:
            content = {**self.header, "seconds": seconds, "tables": self.tables}
            write_atomically(self.file, json.dumps(content, indent=1) + "\n")


def cell(value: Any) -> str:
    """A figure as text: three significant digits for floats, whole numbers with separators up to a million."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 1_000_000 else compact(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def points_gained(before: Tensor, after: Tensor) -> dict[str, Any]:
    """Points of accuracy that ``after`` has over ``before`` with the paired interval; as for ``paired_bootstrap``."""
    old, new = before.double().mean().item(), after.double().mean().item()
    low, high = report.paired_bootstrap(before, after)
    return {
        "points": 100 * (new - old), "points_low": 100 * old * (low - 1), "points_high": 100 * old * (high - 1),
        "significant": low > 1 or high < 1,
    }  # fmt: skip
