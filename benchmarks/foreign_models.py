"""The library on models that are not ours: every family, every operation, each compared with what is right.

A cell is ``works`` with its error, ``refused`` with the reason (an error of ours that names what is in the way), ``not
applicable``, or ``wrong``. The table in docs/models.md is written from the results.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, Row, merge, parser, read
from foreign_families import FAMILIES
from foreign_operations import OPERATIONS, NotApplicable

from course_lib.core.atomic_write import write_atomically

NAME, TABLE = "foreign_models", "cells"
PAGE = Path(__file__).parents[1] / "docs" / "models.md"
QUICK = ("MobileNet v3", "ViT (torchvision)", "Qwen2")
LONGEST = 300
WORKS, REFUSED, NOT_APPLICABLE, WRONG = "works", "refused", "not applicable", "wrong"
FOREIGN_WORDS = ("Traceback", "aten::", "RuntimeError", "Expected ", "mat1 and mat2", "unexpected keyword")
INTRODUCTION = """# Models that are not ours

What the library does with model families that the course does not ship. The models have random weights and are small
where their library allows it. A cell is the largest difference to what is right, as a share of the largest right value
(for 8 bits this is the error of the rounding itself); or the reason of a refusal; `–`: there is nothing to do.

`python benchmarks/foreign_models.py` measures it and writes this page. Removed channels are compared with the masked
model, factors with their product, 4-bit weights with rounding written down again, MACs with formulas; everything that
changes a model is also saved, loaded and compared. A model of another library is stored if its builder is registered
(`models.builder`), as it was here for {registered}.

"""


def cell(name: str, operation: str) -> Row:
    """One operation on a fresh model of one family."""
    family, (work, limit) = FAMILIES[name], OPERATIONS[operation]
    row: dict[str, Any] = {"family": name, "operation": operation, "error": None, "reason": ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error = work(family.model(), family)
    except NotApplicable:
        return row | {"verdict": NOT_APPLICABLE}
    except ValueError as refusal:
        reason = str(refusal)
        ours = not any(word in reason for word in FOREIGN_WORDS) and _raised_by_us(refusal)
        return row | {"verdict": REFUSED if ours else WRONG, "reason": reason}
    except Exception as failure:
        return row | {"verdict": WRONG, "reason": f"{type(failure).__name__}: {failure}"[:LONGEST]}
    return row | {"verdict": WORKS if error <= limit else WRONG, "error": error}


def _raised_by_us(error: BaseException) -> bool:
    """Whether the line that raised the error is one of this package."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and "course_lib" in trace.tb_frame.f_code.co_filename


def page(rows: list[Row]) -> str:
    """The page with the table of ``rows``."""
    cells = {(row["family"], row["operation"]): row for row in rows}
    lines = ["| family | " + " | ".join(OPERATIONS) + " |", "| --- |" + " ---: |" * len(OPERATIONS)]
    notes: dict[str, int] = {}
    for family in FAMILIES:
        shown = [_shown(cells[family, operation], notes) for operation in OPERATIONS]
        lines.append(f"| {family} | " + " | ".join(shown) + " |")
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in (WORKS, REFUSED, WRONG)}
    share = counts[WORKS] / sum(counts.values())
    summary = (
        f"{counts[WORKS]} of {sum(counts.values())} applicable cells work ({share:.0%}), {counts[REFUSED]} are refused"
    )
    reasons = [f"{number}. {reason}" for reason, number in notes.items()]
    registered = ", ".join(
        name for name, family in FAMILIES.items() if family.architecture["builder"].startswith("foreign")
    )
    text = INTRODUCTION.format(registered=registered)
    return text + "\n".join(lines) + f"\n\n{summary}, {counts[WRONG]} are wrong.\n\n" + "\n".join(reasons) + "\n"


def _shown(row: Row, notes: dict[str, int]) -> str:
    if row["verdict"] == NOT_APPLICABLE:
        return "–"
    if row["verdict"] == WORKS:
        return "equal" if row["error"] == 0 else f"{row['error']:.0e}"
    number = notes.setdefault(row["reason"].replace("\n", " "), len(notes) + 1)
    return f"{row['verdict']} ({number})"


def main() -> None:
    arguments = parser(__doc__, quick="three families")
    arguments.add_argument("--families", nargs="+", choices=list(FAMILIES), metavar="NAME", help="only these")
    arguments.add_argument("--operations", nargs="+", choices=list(OPERATIONS), metavar="NAME", help="only these")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    families = QUICK if options.quick else options.families or FAMILIES
    target = options.json or RESULTS / f"{NAME}.json"
    for family in families:
        rows = [cell(family, operation) for operation in options.operations or OPERATIONS]
        earlier = read(target).get(TABLE, {}).get("rows", [])
        done = {(row["family"], row["operation"]) for row in rows}
        merge(target, TABLE, [*(row for row in earlier if (row["family"], row["operation"]) not in done), *rows])
    if not options.json and not options.quick:
        write_atomically(PAGE, page(read(target)[TABLE]["rows"]))


if __name__ == "__main__":
    main()
