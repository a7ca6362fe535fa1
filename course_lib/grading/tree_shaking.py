"""Reduce the exercise modules to what a probe needs, so that checks and reference answers stay outside the sandbox.

The probes of an exercise are in the module of its checks, which know the answers. Starting from the wanted names, the
names that they use are followed through the modules of ``course_lib.learning.exercises``; the others are left out.
A module is named by its path in that package, for example ``lesson_03.questions``.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from nbformat import NotebookNode

from course_lib.grading import cells

PACKAGE = "course_lib.learning.exercises"
EXCLUDED = "EXCLUDED"


class ShakeError(ValueError):
    """A probe needs something that must not be in the sandbox."""


def shake(folder: Path, wanted: Mapping[str, Iterable[str]], secrets: Collection[str] = ()) -> dict[str, str]:
    """Source of each module that is needed, with only the needed definitions.

    Args:
        folder: where the exercise modules are.
        wanted: module name → names; ``"*"`` keeps the whole module.
        secrets: names that learners define; a definition of the same name is a reference answer.

    Raises:
        ShakeError: if a name is missing, or is a reference answer.
    """
    needed: dict[str, set[str]] = {}
    queue = [(module, name) for module, names in wanted.items() for name in names]
    modules: dict[str, _Module] = {}
    while queue:
        module, name = queue.pop()
        if name in needed.setdefault(module, set()):
            continue
        if name in secrets or module.endswith(".reference"):
            raise ShakeError(f"{module}.{name} is a reference answer, but the sandbox would need it")
        needed[module].add(name)
        if module not in modules:
            modules[module] = _Module(folder, module)
        queue += modules[module].needs(name)
    return {module: modules[module].source(names) for module, names in needed.items()}


def questions_of(lesson: str) -> str:
    """The module of a lesson's checks and probes."""
    return f"lesson_{lesson}.questions"


def probes(folder: Path, lesson: str) -> dict[str, str]:
    """Question id → name of its probe function, read from the questions without importing them."""
    module = _Module(folder, questions_of(lesson))
    return {question: name for name, question in module.probes.items()}


def exclusions(folder: Path, lesson: str) -> set[str]:
    """The name of the constant with what a lesson's answers must not use, if its questions have one."""
    return {EXCLUDED} & _Module(folder, questions_of(lesson)).statements.keys()


def imported(notebook: NotebookNode) -> dict[str, set[str]]:
    """What a notebook's own cells import from the exercise modules."""
    found: dict[str, set[str]] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and PACKAGE in cell.source:
            for node in ast.walk(ast.parse(cells.plain(cell.source))):
                for module, name in _imports(node):
                    found.setdefault(module, set()).add(name)
    return found


def _imports(node: ast.AST) -> list[tuple[str, str]]:
    """``(module, name)`` for each name taken from an exercise module; ``"*"`` for a module as a whole."""
    if isinstance(node, ast.Import):
        whole = [alias.name.removeprefix(PACKAGE + ".") for alias in node.names if alias.name.startswith(PACKAGE + ".")]
        return [(module, "*") for module in whole]
    if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(PACKAGE):
        return []
    module = (node.module or "").removeprefix(PACKAGE).removeprefix(".")
    if "." in module:
        return [(module, alias.name) for alias in node.names]
    return [(f"{module}.{alias.name}".strip("."), "*") for alias in node.names]


def _file(folder: Path, module: str) -> Path:
    return folder.joinpath(*module.split(".")).with_suffix(".py")


class _Module:
    """The top-level statements of one module, by the names they define."""

    def __init__(self, folder: Path, name: str) -> None:
        try:
            source = _file(folder, name).read_text(encoding="utf-8")
        except OSError as error:
            raise ShakeError(f"there is no exercise module {name}") from error
        self.tree, self.name = ast.parse(source, filename=name), name
        self.statements: dict[str, ast.stmt] = {}
        self.imports: dict[str, list[ast.Import | ast.ImportFrom]] = {}
        self.probes: dict[str, str] = {}
        for node in self.tree.body:
            self._register(node)

    def needs(self, name: str) -> list[tuple[str, str]]:
        """What a definition refers to: names of this module, and of other exercise modules."""
        if name == "*":
            return [(self.name, other) for other in (*self.statements, *self.imports)]
        if name in self.imports:
            return [found for node in self.imports[name] for found in _imports(node)]
        if name not in self.statements:
            raise ShakeError(f"{self.name} has no {name!r}")
        used = {node.id for node in ast.walk(self.statements[name]) if isinstance(node, ast.Name)}
        return [(self.name, other) for other in sorted(used) if other in self.statements or other in self.imports]

    def source(self, names: set[str]) -> str:
        """The module with only these names, without the decorators that declare questions and probes."""
        kept: list[ast.stmt] = [ast.ImportFrom("__future__", [ast.alias("annotations")], 0)]
        kept += [node for name, nodes in self.imports.items() if name in names for node in nodes]
        wanted = [self.statements[name] for name in names if name in self.statements]
        kept += [node for node in self.tree.body if node in wanted]
        return ast.unparse(ast.fix_missing_locations(ast.Module(kept, []))) + "\n"

    def _register(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names if getattr(node, "module", "") != "__future__" else ():
                one = copy.copy(node)
                one.names = [alias]
                self.imports.setdefault(alias.asname or alias.name.split(".")[0], []).append(one)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            if isinstance(node, ast.FunctionDef):
                node.decorator_list = [entry for entry in node.decorator_list if not self._declares(node.name, entry)]
            self.statements[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = (part for target in targets for part in ast.walk(target))
            self.statements |= {part.id: node for part in parts if isinstance(part, ast.Name)}

    def _declares(self, function: str, decorator: ast.expr) -> bool:
        if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name)):
            return False
        if decorator.func.id == "probe" and isinstance(decorator.args[0], ast.Constant):
            self.probes[function] = str(decorator.args[0].value)
        return decorator.func.id in ("probe", "question")
