"""Time and memory of each lesson, compared with the budget of 90 s and 2 GB.

    python benchmarks/lessons.py [--lessons 00 03] [--quick] [--json FILE]

Each lesson is executed from top to bottom in a fresh kernel, as by `course run`; the copies go to runs/. Time is
wall-clock including the kernel's start, memory is the peak resident size. --quick runs the first lesson only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common import Results, Row, parser

from course_lib.notebook import runner

GOAL_SECONDS, GOAL_MB = 90.0, 2000.0


def rows(lessons: Sequence[str]) -> Iterator[Row]:
    """One row per lesson; a lesson that fails ends the benchmark.

    Raises:
        RuntimeError: if a cell of a lesson fails, because the rest of it was not measured.
    """
    for path in runner.find_lessons(lessons):
        result = runner.run_lesson(path)
        if not result.passed:
            raise RuntimeError(f"lesson {result.lesson} failed: {result.error}")
        yield {
            "lesson": result.lesson, "cells": result.cells, "seconds": result.seconds, "peak_mb": result.peak_mb,
            "in_time": result.seconds <= GOAL_SECONDS, "in_memory": result.peak_mb <= GOAL_MB,
        }  # fmt: skip


def main() -> None:
    """Run the chosen lessons and print their row."""
    options = parser(__doc__, quick="the first lesson only")
    options.add_argument("--lessons", nargs="+", default=[], metavar="NN", help="lessons to run (default: all)")
    arguments = options.parse_args()
    results = Results(__doc__, arguments)
    results.table("lessons", rows(arguments.lessons or (["00"] if arguments.quick else [])))
    results.save()


if __name__ == "__main__":
    main()
