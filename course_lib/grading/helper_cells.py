"""Cells that a learner adds to an exercise: which of them belong to the program, and what names code defines and uses.

A helper cell holds only imports, functions, classes and constants, so running it computes nothing of its own. Every
other added cell is left out, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from course_lib.grading import cells

DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass,
)  # fmt: skip
PURE = frozenset((
    "abs", "bool", "bytes", "complex", "dict", "float", "frozenset", "int", "len", "list", "max", "min", "range",
    "round", "set", "sorted", "str", "sum", "torch.device", "torch.tensor", "tuple",
))  # fmt: skip
"""Functions that a constant may call, besides those of ``math``."""
NOT_CONSTANT = (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)


@dataclass(frozen=True)
class Helper:
    """A helper cell: its number in the learner's file, and the place in the exercise's code cells that it follows."""

    number: int
    after: int
    source: str

    @property
    def id(self) -> str:
        """The id of its cell in the program, for example ``"helper-7"``."""
        return f"helper-{self.number}"


def refusal(source: str) -> str | None:
    """Why a cell is no helper cell, as a phrase; None if it is one."""
    if source.lstrip().startswith("%%"):
        return f"it is a cell of {source.split()[0]}"
    try:
        tree = ast.parse(runnable(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "it is not plain Python"
    for node in tree.body:
        if not _is_definition(node):
            return f"line {node.lineno} computes something"
    return None


def runnable(source: str) -> str:
    """The source without lines of magics and shell commands; unchanged if it is Python as it stands."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return cells.plain(source)
    return source


def is_python(source: str) -> bool:
    """Whether a cell can be compiled, apart from its magics."""
    try:
        ast.parse(runnable(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def bound_names(source: str) -> set[str]:
    """The names that a cell defines at its top level; none if it is not Python."""
    tree = _parsed(source)
    return {name for node in tree.body for name in _bound(node)}


def used_names(source: str) -> set[str]:
    """The names that a cell reads anywhere, also inside its functions."""
    nodes = ast.walk(_parsed(source))
    return {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)}


def needed(id: str, sources: Mapping[str, str]) -> set[str]:
    """The ids of all sources whose names a source uses, directly or through others; without its own id."""
    definers: dict[str, set[str]] = {}
    for other, source in sources.items():
        for name in bound_names(source):
            definers.setdefault(name, set()).add(other)
    found, queue = {id}, [id]
    while queue:
        for name in used_names(sources[queue.pop()]):
            queue += definers.get(name, set()) - found
            found |= definers.get(name, set())
    return found - {id}


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(runnable(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, DEFINITIONS):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return all(map(_is_name, node.targets)) and _is_constant(node.value)
    if isinstance(node, ast.AnnAssign):
        return _is_name(node.target) and (node.value is None or _is_constant(node.value))
    if isinstance(node, ast.Try):
        handlers = [entry for handler in node.handlers for entry in handler.body]
        return all(map(_is_definition, [*node.body, *handlers, *node.orelse, *node.finalbody]))
    return False


def _is_name(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) or (isinstance(target, ast.Tuple) and all(map(_is_name, target.elts)))


def _is_constant(value: ast.expr) -> bool:
    """Whether a value is written down and not computed by other code; what a lambda does later does not count."""
    if isinstance(value, ast.Lambda):
        return True
    if isinstance(value, NOT_CONSTANT) or (isinstance(value, ast.Call) and not _is_pure(value.func)):
        return False
    inner = [node for node in ast.iter_child_nodes(value) if isinstance(node, ast.expr)]
    inner += [node.value for node in ast.iter_child_nodes(value) if isinstance(node, ast.keyword)]
    inner += [part for node in ast.iter_child_nodes(value) if isinstance(node, ast.comprehension)
              for part in (node.iter, *node.ifs)]  # fmt: skip
    return all(map(_is_constant, inner))


def _is_pure(function: ast.expr) -> bool:
    name = ast.unparse(function)
    return name in PURE or name.startswith("math.")


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        return
    inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    yield from (name for child in inner for name in _bound(child))
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, ast.ExceptHandler):
            yield from (name for child in part.body for name in _bound(child))
