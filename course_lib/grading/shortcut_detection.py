"""Flags on answers that take a shortcut, found by reading their code; an instructor decides what they mean.

An answer that calls the course's own implementation may be right and still miss the point. The sandbox, not this
list, protects the grade.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from course_lib.grading import cells

SOLUTIONS = (
    "course_lib", "torch.nn.utils.prune", "torch.nn.utils.fusion", "torch.nn.utils.fuse_conv_bn_eval",
    "torch.nn.utils.fuse_conv_bn_weights", "torch.nn.utils.fuse_linear_bn_eval",
    "torch.nn.utils.fuse_linear_bn_weights", "torch.ao", "torch.quantization", "torchao", "probe_runtime",
)  # fmt: skip
INSPECTING_MODULES = (
    "ctypes", "gc", "importlib", "inspect", "multiprocessing", "os", "pickle", "signal", "socket", "subprocess", "sys",
)  # fmt: skip
INSPECTING_NAMES = (
    "__import__", "eval", "exec", "compile", "globals", "get_ipython", "__builtins__", "open", "quit", "exit",
)  # fmt: skip
INSPECTING_ATTRIBUTES = ("__globals__", "__subclasses__", "f_back", "__code__")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+|course_lib")
HELPERS = re.compile(r"course_lib\.learning\.exercises\.lesson_\d\d\.playground(\.\w+)*")
"""What notebooks import for their questions: small networks and measurements, but no check and no reference."""


class FlagKind(StrEnum):
    """What a flag says about an answer."""

    SOLUTION = "solution"
    INSPECTION = "inspection"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Flag:
    """One thing in an answer that an instructor may want to see; ``text`` is a phrase for the table."""

    kind: FlagKind
    text: str


class OnFlag(StrEnum):
    """What flags of the kind ``SOLUTION`` do to the points: nothing, or the question earns none."""

    REPORT = "report"
    ZERO = "zero"


def flags(source: str) -> list[Flag]:
    """The flags of an answer, each once."""
    plain = cells.plain(source)
    found = [Flag(FlagKind.INSPECTION, "uses magics")] if plain != "\n".join(source.splitlines()) else []
    try:
        tree = ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        unread = Flag(FlagKind.UNREADABLE, "is no plain Python, so it was not looked through")
        return [*found, unread] if set("%!?") & set(source) else found
    return list(dict.fromkeys([*found, *(flag for node in ast.walk(tree) for flag in _flags(node))]))


def _flags(node: ast.AST) -> Iterator[Flag]:
    for name in _imported(node):
        if _within(name, SOLUTIONS) and not HELPERS.fullmatch(name):
            yield _solution(f"uses {name}")
        elif _within(name, INSPECTING_MODULES):
            yield Flag(FlagKind.INSPECTION, f"imports {name}")
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    if DOTTED.fullmatch(text) and _within(text, SOLUTIONS) and not HELPERS.fullmatch(text):
        yield _solution(f"names {text} in a text")
    if isinstance(node, ast.Name) and node.id in INSPECTING_NAMES:
        yield Flag(FlagKind.INSPECTION, f"uses {node.id}")
    path = _dotted(node) if isinstance(node, ast.Attribute) else ""
    if path and _within(path, SOLUTIONS[1:]):
        yield _solution(f"uses {path}")
    if path and path.rpartition(".")[2] in INSPECTING_MODULES:
        yield Flag(FlagKind.INSPECTION, f"uses {path}")
    if isinstance(node, ast.Attribute) and node.attr in INSPECTING_ATTRIBUTES:
        yield Flag(FlagKind.INSPECTION, f"uses {node.attr}")


def _solution(text: str) -> Flag:
    return Flag(FlagKind.SOLUTION, f"{text}, which may be the solution itself")


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _dotted(node: ast.expr) -> str:
    """``torch.nn.utils.prune`` for that attribute access, also of ``nn``; else an empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join(["torch.nn" if node.id == "nn" else node.id, *reversed(parts)])
