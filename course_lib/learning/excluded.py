"""Library functions that an exercise does not accept: the text says that its learner rebuilds them.

The code of an answer is read, not run: names are looked up, attributes of modules are followed, and functions and
classes that the learner wrote are read too. A lesson declares the names as ``EXCLUDED`` beside its questions.
"""

from __future__ import annotations

import dis
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")
_NAMES = ("LOAD_GLOBAL", "LOAD_NAME")


def is_learners(file: str) -> bool:
    """Whether code of this file name was written by the learner, not by the course or a library."""
    return not (file.startswith("<frozen") or file.startswith((_OURS, *_LIBRARIES)))


def excluded_use(function: Any, excluded: Sequence[str]) -> str | None:
    """The dotted name of something excluded that ``function`` is or uses, or None.

    Args:
        function: a function or class.
        excluded: dotted names of modules and functions; what is inside of an excluded module is excluded too.
    """
    if not excluded:
        return None
    waiting, seen = [function], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        for name, used in [(_name(value), None), *_uses(value)]:
            if _within(name, excluded):
                return name
            if used is not None and _is_readable(used):
                waiting.append(used)
    return None


def _uses(value: Any) -> Iterator[tuple[str, Any]]:
    """Dotted name and value of everything that the code of a function or class refers to."""
    for function in _functions(value):
        for code in _codes(function.__code__):
            yield from _references(code, function.__globals__)


def _references(code: CodeType, names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    path, value = "", None
    for step in dis.get_instructions(code):
        if step.opname in _NAMES:
            value = names.get(step.argval)
            path = _name(value) or step.argval
        elif step.opname == "IMPORT_NAME":
            path, value = step.argval, sys.modules.get(step.argval)
        elif step.opname in _ATTRIBUTES and path:
            inside = getattr(value, step.argval, None) if isinstance(value, ModuleType) else None
            yield f"{path}.{step.argval}", inside
            if step.opname == "IMPORT_FROM":
                continue
            path, value = f"{path}.{step.argval}", inside
        elif step.opname not in ("PUSH_NULL", "PRECALL", "CACHE"):
            path, value = "", None
        if path:
            yield path, value


def _functions(value: Any) -> list[FunctionType]:
    """The functions of a value: itself, or the methods of a class."""
    entries = list(vars(value).values()) if isinstance(value, type) else [value]
    entries = [getattr(one, "__func__", None) or getattr(one, "fget", None) or one for one in entries]
    wrapped = [vars(one).get("__wrapped__") for one in entries if isinstance(one, FunctionType)]
    return [one for one in (*entries, *wrapped) if isinstance(one, FunctionType)]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_readable(value: Any) -> bool:
    """Whether ``value`` is a function or class of the learner."""
    return any(is_learners(function.__code__.co_filename) for function in _functions(value))


def _name(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""


def _within(name: str, excluded: Sequence[str]) -> bool:
    return any(name == one or name.startswith(one + ".") for one in excluded)
