"""What the level ``process`` does not stop is documented in the grader's README; both are compared here."""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import asdict
from pathlib import Path

import pytest

from course_lib.grading import building, sandbox
from tests.hostile.conftest import SHORT, TARGET, WRONG
from tests.hostile.test_reaching_out import _listener

README = building.ROOT / "course_lib" / "grading" / "README.md"
STOPPED_BY_PROCESS = {
    "forged points": "yes",
    "reading solutions": "no",
    "changing files": "no",
    "talking": "no",
    "using up": "partly",
    "text in feedback": "yes",
}


def table():
    """Row → level → the first word of the cell."""
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    levels = re.findall(r"`(\w+)`", lines[0])
    assert tuple(levels) == sandbox.LEVELS
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines[2 : 2 + len(STOPPED_BY_PROCESS)]]
    return {
        name: dict(zip(levels, (re.match(r"\w+", cell)[0] for cell in cells), strict=True)) for name, *cells in rows
    }


def test_the_table_says_what_these_tests_show():
    written = table()
    assert len(written) == len(STOPPED_BY_PROCESS)
    for start, word in STOPPED_BY_PROCESS.items():
        (row,) = [levels for name, levels in written.items() if name.startswith(start)]
        assert row == {"bwrap": "yes", "container": "yes", "process": word}, start


def test_the_limits_are_those_of_the_readme():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {name: float(value) for name, value in rows} == asdict(sandbox.Limits())


@pytest.fixture
def unprotected(grader):
    return lambda source: grader.decide({TARGET: textwrap.dedent(source)}, SHORT, level="process")[TARGET]


def test_process_stops_forged_points(unprotected):
    forged = "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
    assert not unprotected(forged + "def dense_bytes(shapes, dtype):\n    return Any()\n").passed
    assert not unprotected("import probe_runtime\nprobe_runtime.show = lambda *a: print('right')\n" + WRONG).passed


def test_process_does_not_stop_reading_solutions(unprotected):
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    source = f"""
        import json
        content = json.load(open({str(solution)!r}))
        cell = next(c for c in content["cells"] if c["metadata"].get("nbgrader", {{}}).get("grade_id") == "answer-01-1")
        exec("import math\\n" + "".join(cell["source"]))
    """
    assert unprotected(source).passed


def test_process_does_not_stop_changing_files(unprotected, tmp_path):
    mark = tmp_path / "mark"
    unprotected(f"open({str(mark)!r}, 'w').close()\n" + WRONG)
    assert mark.exists()


def test_process_does_not_stop_talking(unprotected, tmp_path):
    heard = []
    with _listener("tcp", tmp_path, heard) as source:
        unprotected(textwrap.dedent(source) + WRONG)
    assert heard


@pytest.mark.parametrize(
    "greedy",
    ["while True: pass", "pile = bytearray(10**12)", "while True: print('x' * 100_000)", "files = []\nwhile True: "
     "files.append(open('/dev/null'))", "import os\nos._exit(0)"],
    ids=["time", "memory", "output", "files", "exit"],
)  # fmt: skip
def test_process_stops_what_one_process_uses_up(unprotected, greedy):
    assert not unprotected(f"{greedy}\n{WRONG}").passed


def test_process_has_a_clean_environment_and_a_home_of_its_own(grader, unprotected, monkeypatch):
    monkeypatch.setenv("COURSE_GRADING_SECRET", "the secret")
    source = f"""
        import os, site
        assert "COURSE_GRADING_SECRET" not in os.environ and os.environ["HOME"] != {os.environ.get("HOME", "/")!r}
        assert not site.ENABLE_USER_SITE
    """
    assert unprotected(textwrap.dedent(source) + grader.right(TARGET)).passed


def test_a_level_that_protects_is_never_replaced_by_one_that_does_not(monkeypatch):
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    for module in (sandbox.bubblewrap, sandbox.containers):
        module.problem.cache_clear()
    try:
        with pytest.raises(sandbox.SandboxError, match="nothing was run"):
            sandbox.choose("auto")
    finally:
        for module in (sandbox.bubblewrap, sandbox.containers):
            module.problem.cache_clear()
