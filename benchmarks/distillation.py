"""Distillation, measured: students of ResNet18 and MiniLM, with and without their teachers.

    python benchmarks/distillation.py --quick             # re-measure the shipped students (≤ 3 minutes)
    python benchmarks/distillation.py --source DIR        # everything; DIR holds fashion-mnist/*.gz
    python benchmarks/distillation.py --next --source DIR # at most 170 seconds of the next training that is not done

Without --source the 20,000 shipped training images are used instead of all 58,000. Trainings are kept in
runs/distillation/ and go on where they stopped. --collect makes tables of what is there. --json names another file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import parser
from distillation_vision import Run, Stopped, student_of
from train_baselines import full_fashion_mnist

from course_lib import data

PIECE_SECONDS = 170.0
PLAN = [
    Run(student, teacher, seed, epochs=12)
    for seed in range(3)
    for student in ("100", "10", "400")
    for teacher in ("resnet18", None)
]


def next_piece(splits: data.Splits, seconds: float) -> bool:
    """Train the first run that is not finished; whether anything is left to do."""
    for run in PLAN:
        if not run.file.exists():
            try:
                student_of(run, splits, seconds)
            except Stopped:
                print(f"{run.name}: to be continued", flush=True)
            return True
    return False


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--next", action="store_true", help="one piece of the next training")
    options.add_argument("--source", type=Path, help="folder with fashion-mnist/, for all 58,000 images")
    arguments = options.parse_args()
    splits = full_fashion_mnist(arguments.source) if arguments.source else data.load("fashion_mnist")
    if arguments.next:
        sys.exit(0 if next_piece(splits, PIECE_SECONDS) else 3)


if __name__ == "__main__":
    main()
