"""Names and paths of the course in strings and texts point at something that exists; a linter sees only imports.

Checked are the string literals of the code (docstrings, programs that a test runs, answers that attack the grader) and
the texts of the project: dotted names, ``from course_lib… import …``, paths such as ``course_lib/…``, and paths that
are joined as ``ROOT / "course_lib" / …``. A part that is filled in at run time matches anything.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("course_lib", "benchmarks", "tests")
FILES = [
    ROOT / "start.py",
    *(file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")) if file != Path(__file__)),
    ROOT / "pyproject.toml", ROOT / ".pre-commit-config.yaml", ROOT / ".ci" / "run",
    *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "course_lib").rglob("*.md")),
]  # fmt: skip
HOLE = "\ufffc"  # a part of a string that is filled in at run time
PLACEHOLDER = re.compile(r"\{\w*\}|NAME|TECHNIQUE|NN|NUMBER")
NAME = re.compile(r"(?<![\w./-])course_lib(?:\.[A-Za-z_]\w*)+")
IMPORT = re.compile(r"from (course_lib[\w.]*) import (\w+(?: as \w+)?(?:, *\w+(?: as \w+)?)*)")
PATH = re.compile(rf"(?<![\w.-])(?:{'|'.join(FOLDERS)})/[\w./*{HOLE}-]*")
DELIBERATE = {
    "course_lib/.*": "a regular expression in the settings of pre-commit",
    "course_lib/assets/abc.txt": "tests/launch/test_start.py: a file that is missing from a copy",
    "course_lib.anything": "tests/test_portability.py: an import that is only read",
    "course_lib.cli.command": "benchmarks/installation_kills.py: a small package that it writes and installs",
    "course_lib.cli.command.main": "benchmarks/installation_kills.py",
    "course_lib/cli/command.py": "benchmarks/installation_kills.py",
    "course_lib.nothing": "tests/grading/test_visible_files.py: a package that does not exist",
    "course_lib.oracle": "tests/grading/test_visible_files.py: a package that is added and must stay hidden",
    "course_lib.pruning.x": "tests/grading/test_visible_files.py: an unknown module",
    "course_lib.training.secret_recipe": "tests/grading/test_visible_files.py: a module that is added",
    "course_lib.training.secret_recipe.answer": "tests/grading/test_visible_files.py: a module that is added",
    "course_lib.learning.exercises.lesson_99": "tests/grading/test_tree_shaking.py: an exercise made for the test",
    "course_lib.learning.exercises.lesson_99.cases": "tests/grading/test_tree_shaking.py",
    "course_lib.learning.exercises.lesson_99.cases.answer_it": "tests/grading/test_tree_shaking.py",
    "course_lib.learning.exercises.lesson_99.cases.inputs": "tests/grading/test_tree_shaking.py",
}
"""Names that are meant not to exist, and where they are used."""


class Strings(ast.NodeVisitor):
    """The string literals of a module, and the paths that are joined with ``/``."""

    def __init__(self):
        self.found = []

    def visit_Constant(self, node):
        self.found += [PLACEHOLDER.sub(HOLE, node.value)] if isinstance(node.value, str) else []

    def visit_JoinedStr(self, node):
        self.found.append(text(node))
        for part in node.values:
            self.visit(part.value) if isinstance(part, ast.FormattedValue) else None

    def visit_BinOp(self, node):
        parts = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts.insert(0, text(node.right))
            node = node.left
        start = next((place for place, part in enumerate(parts) if part in FOLDERS), None)
        self.found += ["/".join(parts[start:])] if start is not None and len(parts) > start + 1 else []
        self.generic_visit(node) if not parts else self.visit(node)


def text(node):
    """The text of a string expression, with ``HOLE`` for what is not known."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text, node.values))
    known = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if known else HOLE


def strings(file):
    """The string literals of a Python file; the whole of another file."""
    content = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return [PLACEHOLDER.sub(HOLE, content)]
    visitor = Strings()
    visitor.visit(ast.parse(content))
    return visitor.found


def names(string):
    """Dotted names in a string; one that goes on with a part that is not known ends before that part."""
    for match in NAME.finditer(string):
        is_open = string[match.end() : match.end() + 1] in (HOLE, "*")
        yield match[0].rpartition(".")[0] if is_open else match[0]
    for match in IMPORT.finditer(string):
        yield from (f"{match[1]}.{one.split()[0]}" for one in match[2].split(","))


def paths(string):
    """Paths in a string as patterns for ``glob``."""
    for match in PATH.finditer(string):
        yield re.sub(f"[^/]*{HOLE}[^/]*", "*", match[0]).rstrip("./")


def is_defined(name):
    """Whether a dotted name is a module of the course or an attribute of one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        if base.with_suffix(".py").is_file() or (base / "__init__.py").is_file():
            break
    attributes = parts[length:]
    if not attributes:
        return True
    found = importlib.import_module(".".join(parts[:length]))
    for attribute in attributes:
        if attribute in getattr(found, "__dataclass_fields__", {}):
            return True
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True


def exists(path):
    """Whether a file or folder of the project matches a path."""
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_a_string_names_exists(file):
    found = strings(file)
    missing = {name for string in found for name in names(string) if not is_defined(name)}
    missing |= {path for string in found for path in paths(string) if not exists(path)}
    assert missing <= set(DELIBERATE), missing - set(DELIBERATE)


def test_deliberate_names_are_missing_and_used():
    used = {name for file in FILES for string in strings(file) for name in (*names(string), *paths(string))}
    for name in DELIBERATE:
        assert name in used, f"{name} is used no more"
        assert not (exists(name) if "/" in name else is_defined(name)), f"{name} exists"


@pytest.mark.parametrize(
    ("string", "found"),
    [
        ("see course_lib.grading.cells.read.", ["course_lib.grading.cells.read"]),
        ("-p course_lib.nowhere", ["course_lib.nowhere"]),
        ("from course_lib.grading import cells, warm as hot", ["course_lib.grading", "course_lib.grading.cells",
         "course_lib.grading.warm"]),
        (f"course_lib.learning.lesson_{HOLE}.x", ["course_lib.learning"]),
        ("open('/course/course_lib/models.py') and course_lib/a/*.py", ["course_lib/models.py", "course_lib/a/*.py"]),
        (f"course_lib/lesson_{HOLE}/x.py", ["course_lib/*/x.py"]),
    ],
)  # fmt: skip
def test_names_and_paths_are_found_in_a_string(string, found):
    assert [*names(string), *paths(string)] == found


def test_joined_and_filled_in_strings_are_found():
    visitor = Strings()
    visitor.visit(ast.parse('a = ROOT / "course_lib" / f"{x}.py"\nb = f"course_lib.{x}" + "course_lib.y"'))
    assert [path for one in visitor.found for path in paths(one)] == ["course_lib/*"]
    assert [name for one in visitor.found for name in names(one)] == ["course_lib.y"]


def test_the_test_itself_would_fail():
    assert not is_defined("course_lib.grading.nowhere") and not exists("course_lib/nowhere.py")
    assert is_defined("course_lib.grading.results.GradedSubmission.student") and exists("course_lib/*/cells.py")
