"""Answers that take a shortcut: found by reading their code, shown to the instructor, never run for this.

An answer that calls the course's own implementation may be right and still miss the point. What can be said about
it by reading is said here; the sandbox, not this list, is what protects the grade.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

SHORTCUTS = ("course_lib", "torch.nn.utils.prune", "torch.ao", "torchao", "probe_runtime")
PRYING = (
    "ctypes",
    "gc",
    "importlib",
    "inspect",
    "multiprocessing",
    "os",
    "pickle",
    "signal",
    "socket",
    "subprocess",
    "sys",
)
PRYING_NAMES = (
    "__import__",
    "eval",
    "exec",
    "compile",
    "globals",
    "get_ipython",
    "__builtins__",
    "open",
    "quit",
    "exit",
)
DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+|course_lib")
MAGIC = ("%", "!")
HELPERS = re.compile(r"course_lib\.learning\.exercises\.(?!reference_|exercise_|\w*_checks)\w+(\.\w+)*")
"""What notebooks import for their questions: small networks and measurements, but no check and no reference."""


def flags(source: str) -> list[str]:
    """One line for each thing in an answer that an instructor may want to see."""
    lines = source.splitlines()
    plain = [line for line in lines if not line.lstrip().startswith(MAGIC)]
    found = ["uses magics"] if len(plain) < len(lines) else []
    try:
        tree = ast.parse("\n".join(plain))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [*found, "is no plain Python, so it was not looked through"] if set("%!?") & set(source) else found
    return list(dict.fromkeys([*found, *_flags(tree)]))


def _flags(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        for name in _imported(node):
            if _within(name, SHORTCUTS) and not HELPERS.fullmatch(name):
                yield f"uses {name}, which may be the solution itself"
            elif _within(name, PRYING):
                yield f"imports {name}"
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if DOTTED.fullmatch(text) and _within(text, SHORTCUTS) and not HELPERS.fullmatch(text):
            yield f"names {text} in a text, which may be the solution itself"
        if isinstance(node, ast.Name) and node.id in PRYING_NAMES:
            yield f"uses {node.id}"
        if isinstance(node, ast.Attribute) and (path := _dotted(node)) and _within(path, SHORTCUTS[1:3]):
            yield f"uses {path}, which may be the solution itself"
        if isinstance(node, ast.Attribute) and node.attr in ("__globals__", "__subclasses__", "f_back", "__code__"):
            yield f"uses {node.attr}"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _dotted(node: ast.expr) -> str:
    """``torch.nn.utils.prune`` for the attribute access of that text, else an empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
