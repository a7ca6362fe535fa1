"""The test suite of ``start.py test``: every stage in turn, then a summary of durations."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from course_lib.launch.environment import Environment

WORKERS = "2"
CELL_TIMEOUT = "360"  # the slowest cell takes 25 s alone; on a busy machine several times as long


@dataclass(frozen=True)
class Outcome:
    """Exit code and duration of a stage."""

    name: str
    code: int
    seconds: float


def stages(root: Path) -> dict[str, tuple[str, ...]]:
    """Name of each stage → arguments of the environment's Python, in order, the quick ones first."""
    parallel = ("-n", WORKERS, "--dist", "loadscope")
    sanitizers = root / "tests" / "notebooks" / "sanitize.cfg"
    notebook = (
        "-m", "pytest", "-q", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}",
        f"--nbval-sanitize-with={sanitizers}", "-p", "no:cacheprovider", "-p", "course_lib.notebook.ipc_kernels",
        *parallel,
    )  # fmt: skip
    return {
        "ruff check": ("-m", "ruff", "check", "."),
        "ruff format": ("-m", "ruff", "format", "--check", "."),
        "import rules": ("-c", "from importlinter.cli import lint_imports_command as f; f()"),
        "mypy": ("-m", "mypy"),
        "tests": ("-m", "pytest", "-q", *parallel, "tests", "--ignore", "tests/hostile"),
        # each test waits for its own kernel, so tests are distributed one by one; without a sandbox they fail
        "hostile": ("-m", "pytest", "-q", "-n", WORKERS, "--dist", "load", "tests/hostile"),
        "lessons": (*notebook, "--nbval-lax", "notebooks"),
        "solutions": (*notebook, "--nbval", "solutions"),
    }


def run(environment: Environment) -> int:
    """Run every stage, also after a failed one; returns 0 if all passed, else 1."""
    scratch = Path(tempfile.mkdtemp(prefix="course-test-"))
    try:
        outcomes = [_run_stage(*stage, environment, scratch) for stage in stages(environment.root).items()]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print("\n" + summary(outcomes), flush=True)
    return int(any(outcome.code for outcome in outcomes))


def summary(outcomes: list[Outcome]) -> str:
    """A table: stage, verdict, seconds, and the total."""
    rows = [
        (outcome.name, f"FAILED ({outcome.code})" if outcome.code else "passed", outcome.seconds)
        for outcome in outcomes
    ]  # fmt: skip
    failed = sum(outcome.code != 0 for outcome in outcomes)
    total = sum(outcome.seconds for outcome in outcomes)
    rows.append(("total", f"{failed} failed" if failed else "all passed", total))
    return "\n".join(f"{name:<14} {verdict:<12} {seconds:7.1f} s" for name, verdict, seconds in rows)


def _run_stage(name: str, command: tuple[str, ...], environment: Environment, scratch: Path) -> Outcome:
    print(f"\n=== {name} ===", flush=True)
    started = time.monotonic()
    code = environment.call(*command, **isolation(scratch))
    return Outcome(name, code, time.monotonic() - started)


def isolation(scratch: Path) -> dict[str, str]:
    """Variables that isolate a test run from the learner's files and the network; one thread per process."""
    return {
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
        "COURSE_PROGRESS": str(scratch / "progress.json"), "COURSE_CACHE": str(scratch / "cache"),
        "IPYTHONDIR": str(scratch / "ipython"), "COURSE_STRICT_WIDGETS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }  # fmt: skip
