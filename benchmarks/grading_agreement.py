"""`course check` and `course grade` give the same points to 300 notebooks that are changed as learners change them.

Each notebook has two or three answers, right or wrong, and one to three changes: helper cells, imports, splits, copies,
deleted cells, loops, magics, lost metadata. The check runs without protection, the grade in the sandbox.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import Results, parser
from grading_variations import variation

from course_lib.grading import grade, intake, sandbox, selfcheck
from course_lib.grading.settings import Settings

SECONDS = 8.0  # for one cell; an endless loop takes all of it


def main() -> None:
    """Print one row per kind of change, and write the results."""
    arguments = parser(__doc__, "6 notebooks")
    arguments.add_argument("--variations", type=int, default=300)
    arguments.add_argument("--threads", type=int, default=os.cpu_count(), help="notebooks at the same time")
    arguments.add_argument("--kept", type=Path, help="folder for finished rows, so that a stopped run goes on")
    chosen = arguments.parse_args()
    count = 6 if chosen.quick else chosen.variations
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(chosen.threads) as pool:
        folder = chosen.kept or Path(name)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        rows = list(pool.map(lambda seed: kept(seed, folder), range(count)))
    results = Results(__doc__, chosen, runs=1)
    results.table("agreement", [summary(rows)])
    results.table("variations", rows)
    results.save()


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many notebooks agree in every question, and how many score."""
    return {
        "variations": len(rows),
        "agree": sum(row["agree"] for row in rows),
        "score": sum(row["grade"] > 0 for row in rows),
        "differ": ", ".join(str(row["seed"]) for row in rows if not row["agree"]) or "none",
    }


def kept(seed: int, folder: Path) -> dict[str, Any]:
    """The row of one seed, from its file if there is one."""
    file = folder / f"{seed}.json"
    if not file.is_file():
        file.write_text(json.dumps(compare(seed, folder)), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def compare(seed: int, folder: Path) -> dict[str, Any]:
    """Points of one notebook from check and from grade."""
    learner, changes = variation(seed)
    path = folder / f"{seed}.ipynb"
    path.write_text(learner.text(), encoding="utf-8")
    begin = time.monotonic()
    (checked,) = selfcheck.check([path], cell_timeout=SECONDS)
    (handed_in,) = intake.collect([path])
    limits = sandbox.Limits(question_seconds=SECONDS)
    settings = Settings(str(folder / "out"), str(folder / "state"), limits=limits, pool=1)
    graded = grade.grade_one(handed_in, settings)
    found = {one.question: one.points for one in graded.questions}
    return {
        "seed": seed, "lesson": learner.questions[0][:2], "changes": changes, "check": checked.points,
        "grade": graded.points, "of": checked.max_points,
        "agree": {one.question: one.points for one in checked.questions} == found and bool(found),
        "notes": checked.problems == list(graded.notes), "seconds": round(time.monotonic() - begin, 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
