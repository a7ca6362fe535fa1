"""Expectations of a check: what is expected, what was returned, and what the difference usually means.

Each function passes silently or raises ``CheckFailed`` with one line. Both sides are reduced to exact types
first (``values.plain``), so that an object with its own ``__eq__`` does not pass.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from course_lib.learning.difference import difference, is_half
from course_lib.learning.values import (
    UnusableResult,
    clone,
    describe,
    describe_any,
    describe_call,
    is_tensor,
    plain,
    shorten,
)

LONGEST_LINE, LONGEST_INPUT, SHORTEST_INPUT = 420, 170, 40
_PLAIN_START = re.compile(r"[a-z]{2,}(?=[,;:?]?(\s+[\w`'\"(]|\s*$))|a\s|i\s")
NUMBERS = ("no", "one", "two", "three", "four")


class NotAttempted(Exception):
    """The answer is still the stub that raises ``NotImplementedError``."""

    def __init__(self, question: str = "") -> None:
        super().__init__(question)
        self.question = question

    def __str__(self) -> str:
        return f"{self.question} not attempted yet: the function still raises NotImplementedError".strip()

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class CheckFailed(AssertionError):
    """A wrong answer, in one line: the difference, the input ``given`` that shows it, and its usual cause (``hint``).

    ``question`` is the id of the question; ``check`` fills it in.
    """

    def __init__(self, problem: str, given: str | None = None, hint: str | None = None, question: str = "") -> None:
        super().__init__(problem)
        self.problem, self.given, self.hint, self.question = problem, given, hint, question

    def __str__(self) -> str:
        start = f"{self.question} not yet: " if self.question else ""
        hint = f". {_sentence(self.hint)}" if self.hint else ""
        room = LONGEST_LINE - len(f"{start}{self.problem}, for {hint}")
        shown = shorten(self.given or "", max(SHORTEST_INPUT, min(LONGEST_INPUT, room)))
        given = f", for {shown}" if shown else ""
        return shorten(" ".join(f"{start}{self.problem}{given}{hint}".split()), LONGEST_LINE)

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def expect(condition: Any, message: str, *, given: Any = None, hint: str | None = None) -> None:
    """Fail with ``message`` unless ``condition`` is true: a boolean, not any truthy value."""
    try:
        holds = plain(condition)
    except UnusableResult:
        holds = False
    holds = holds.item() if is_tensor(holds) and holds.numel() == 1 else holds
    if holds is not True:
        raise CheckFailed(message, _given(given), hint)


def expect_equal(what: str, got: Any, expected: Any, *, given: Any = None, hint: str | None = None) -> None:
    """Fail unless ``got`` has exactly the values of ``expected``.

    Tensors must agree in shape and dtype, but any floating dtype is as good as another; for the other types see
    ``difference``. NaN equals NaN.
    """
    _compare(what, got, expected, None, given, hint)


def expect_close(
    what: str,
    got: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    given: Any = None,
    hint: str | None = None,
) -> None:
    """Fail unless ``|got - expected| <= atol + rtol * |expected|`` everywhere.

    Defaults: rtol 1e-4 and atol 1e-6, but 0 where ``expected`` is an integer (counts must be exact). Shapes and
    types must agree as in ``expect_equal``.
    """
    _compare(what, got, expected, (rtol, atol), given, hint)


def expect_raises(
    error_type: type[BaseException],
    function: Callable[..., Any],
    *args: Any,
    given: Any = None,
    hint: str | None = None,
    **kwargs: Any,
) -> None:
    """Fail unless ``function(*args, **kwargs)`` raises ``error_type`` (or a subclass of it)."""
    call = getattr(function, "raw", function)
    shown = _given(given) or describe_call(dict(zip(_names(function, len(args)), args, strict=True)) | kwargs)
    try:
        result = call(*args, **kwargs)
    except (NotAttempted, CheckFailed):
        raise
    except error_type:
        return
    except Exception as error:
        name = type(error).__name__
        raise CheckFailed(f"expected a {error_type.__name__}, got a {name}: {_message(error)}", shown, hint) from error
    raise CheckFailed(f"expected a {error_type.__name__}, but it returned {describe_any(result)}", shown, hint)


def expect_unchanged(function: Callable[..., Any], *args: Any, given: Any = None, hint: str | None = None) -> Any:
    """Call ``function(*args)``, fail if it changed one of its arguments in place, and return its result."""
    handed = [clone(value) for value in args]
    result = getattr(function, "in_place", function)(*handed)
    for name, after, before in zip(_names(function, len(args)), handed, args, strict=True):
        if difference(_state(after), _state(before)):
            problem = f"your function changed its input `{name}`; it should return a new object instead"
            raise CheckFailed(problem, _given(given), hint or "work on a copy, for example `weight.clone()`")
    return result


def expect_parts(result: Any, count: int, names: str, *, given: Any = None) -> tuple[Any, ...]:
    """``result`` as a tuple; fail unless it is a list or tuple of ``count`` parts, which ``names`` names."""
    good = isinstance(result, list | tuple) and len(result) == count
    advice = "is there a return statement?" if result is None else "list all of them after `return`, between commas"
    problem = f"return {NUMBERS[count]} values, {names}; you returned {describe_any(result)}"
    expect(good, problem, given=given, hint=advice)
    return tuple(result)


def expect_tensor(
    what: str, got: Any, *, shape: Sequence[int] | None = None, dtype: Any = None, given: Any = None,
    hint: str | None = None,
) -> None:  # fmt: skip
    """Fail unless ``got`` is a tensor, of this shape and dtype where they are given."""
    advice = "is there a return statement?" if got is None else hint
    expect(is_tensor(got), f"{what} should be a tensor, yours is {describe_any(got)}", given=given, hint=advice)
    for name, wanted in (("dtype", dtype), ("shape", None if shape is None else tuple(shape))):
        if wanted is not None:
            found = getattr(got, name) if name == "dtype" else tuple(got.shape)
            expect(found == wanted, f"{what} should have {name} {wanted}, yours has {found}", given=given, hint=hint)
    if dtype is None and is_half(got):
        expect(False, f"{what} should be in float32, yours is {got.dtype}, which has too few digits", given=given)


def as_float(value: Any) -> float:
    """A number, or a tensor without dimensions, as a float; text is no number, for checks and probes alike."""
    got = value.item() if is_tensor(value) and value.dim() == 0 else value
    expect(type(got) in (int, float), f"expected a number, got {describe_any(value)}")
    return float(got)


def as_whole(value: Any) -> int:
    """An ``int``, or a whole number in a tensor without dimensions, as an ``int``; a float is none."""
    got = value.item() if is_tensor(value) and value.dim() == 0 else value
    expect(type(got) is int, f"expected a whole number, an int, got {describe_any(value)}")
    return got


def expect_whole(what: str, got: Any, expected: int, *, hint: str | None = None) -> None:
    """Fail unless ``got`` is the whole number ``expected``, and no float."""
    expect(type(got) is not float, f"{what}: count in whole numbers and return an int, not {describe(got)}")
    expect_equal(what, got, expected, hint=hint)


def likely_mistake(got: Any, mistakes: Mapping[str, Any], otherwise: str, *, atol: float = 1e-9) -> str:
    """The advice for the first known wrong value that equals ``got``; ``otherwise`` if there is none.

    Args:
        got: the returned value.
        mistakes: advice → the value that this mistake gives.
    """
    return next((advice for advice, value in mistakes.items() if not difference(got, value, (1e-6, atol))), otherwise)


def draw(generator: Any, low: int, high: int, count: int) -> list[int]:
    """``count`` random whole numbers from ``low`` to ``high``, both included."""
    import torch

    return torch.randint(low, high + 1, (count,), generator=generator).tolist()


def cases(*, seed: int = 0, **lists: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Every combination of the given lists, in order; ``shapes`` yields random float32 tensors of these shapes.

    ``for weight, sparsity in cases(shapes=[(8, 16), (0,)], sparsities=[0, 0.5])`` gives four pairs.
    """
    if "shapes" in lists:
        import torch

        generator = torch.Generator().manual_seed(seed)
        lists["shapes"] = [torch.randn(shape, generator=generator) for shape in lists["shapes"]]
    for combination in itertools.product(*lists.values()):
        yield tuple(clone(value) for value in combination)


def _compare(what: str, got: Any, expected: Any, tolerance: Any, given: Any, hint: str | None) -> None:
    try:
        found = difference(plain(got), plain(expected), tolerance)
    except UnusableResult as error:
        raise CheckFailed(f"{what} cannot be compared: {error}", _given(given), hint) from error
    if found:
        joint = " " if found.startswith(("at ", "under ")) else ": "
        raise CheckFailed(f"{what}{joint}{found}", _given(given), hint)


def _sentence(text: str) -> str:
    """``text`` with a capital letter, unless it begins with code, such as ``student.train()`` or ``w - e``."""
    return text[:1].upper() + text[1:] if _PLAIN_START.match(text) else text


def _names(function: Any, count: int) -> list[str]:
    """The learner's parameter names, if ``function`` is an ``Answer``."""
    numbered = [f"argument {index + 1}" for index in range(count)]
    return function.names(count) if hasattr(function, "names") else numbered


def _state(value: Any) -> Any:
    """The values of a tensor or container, or the state of a module."""
    state_dict = getattr(value, "state_dict", None)
    return plain(state_dict()) if callable(state_dict) else plain(value)


def _given(given: Any) -> str | None:
    if given is None or isinstance(given, str):
        return given
    return describe_call(given) if isinstance(given, Mapping) else describe(given)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be printed)"
