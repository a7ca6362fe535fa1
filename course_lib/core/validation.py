"""Argument checks; their errors name the argument, the value and what is allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any


def check_fraction(name: str, value: float, *, below_one: bool = True) -> float:
    """Return ``value`` if it lies in [0, 1) (or [0, 1] with ``below_one=False``), else raise ``ValueError``."""
    upper_ok = value < 1 if below_one else value <= 1
    if not (0 <= value and upper_ok):
        raise ValueError(f"{name} must lie in [0, 1{')' if below_one else ']'}, got {value}")
    return float(value)


def check_positive(name: str, value: float) -> float:
    """Return ``value`` if it is greater than zero, else raise ``ValueError``."""
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")
    return value


def check_choice(name: str, value: Any, allowed: Collection[Any]) -> Any:
    """Return ``value`` if it is one of ``allowed``, else raise ``ValueError`` that lists them."""
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} must be one of {choices}; got {value!r}")
    return value


@contextlib.contextmanager
def error_prefix(where: str) -> Iterator[None]:
    """Put ``where`` before the message of a ``ValueError`` from within the ``with`` block."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
