"""A wrapper of the learner's function: it passes copies, returns exact types, and reports errors in one line."""

from __future__ import annotations

import dis
import functools
import inspect
import linecache
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from course_lib.learning.excluded import excluded_use, is_learners
from course_lib.learning.expect import CheckFailed, NotAttempted
from course_lib.learning.values import UnusableResult, clone, describe, describe_any, describe_call, plain

LONGEST_SOURCE = 60


class Answer:
    """A callable around ``function``, the learner's function or class.

    A call passes copies of tensors, containers and modules, so that the function cannot change the check's objects;
    ``in_place`` passes the objects themselves. Results are reduced by ``values.plain``.

    Args:
        function: the learner's function or class.
        excluded: dotted names of library functions that it must not use (``learning.excluded``).

    Raises:
        CheckFailed: if ``function`` is not callable, uses something excluded, does not take these arguments, raises,
            or returns something that cannot be compared.
        NotAttempted: if it raises ``NotImplementedError``.
    """

    def __init__(self, function: Any, excluded: Sequence[str] = ()) -> None:
        if not callable(function):
            problem = f"the answer should be a function, got {describe_any(function)}"
            raise CheckFailed(problem, hint="pass the function itself, without calling it: no brackets after its name")
        if used := excluded_use(function, excluded):
            problem = f"your answer uses `{used}`, which is what this exercise rebuilds, so it does not count"
            raise CheckFailed(problem, hint="write the steps yourself")
        self.function: Callable[..., Any] = function
        self.given: str | None = None
        self.returned: str | None = None
        self.calls = 0
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.in_place(*[clone(value) for value in args], **{key: clone(kwargs[key]) for key in kwargs})

    def in_place(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with the objects themselves, without copies."""
        try:
            result = plain(self.raw(*args, **kwargs))
        except (CheckFailed, NotAttempted):
            raise
        except UnusableResult as error:
            raise CheckFailed(f"what your function returns cannot be compared: {error}", self.given) from error
        except (Exception, SystemExit) as error:
            raise CheckFailed(f"your function raised {explain(error)}", self.given) from error
        self.returned = describe(result)
        return result

    def raw(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function without converting its exceptions, except that of an unanswered stub."""
        self.returned = None
        self.calls += 1
        self.given = self._bind(args, kwargs)
        try:
            return self.function(*args, **kwargs)
        except NotImplementedError as error:
            if is_stub(error):
                raise NotAttempted() from error
            raise

    def refuses(self, *args: Any) -> bool:
        """Whether the function raises ``ValueError`` for these objects, for probes of invalid input."""
        try:
            self.function(*args)
        except ValueError:
            return True
        except Exception:
            return False
        return False

    def names(self, count: int) -> list[str]:
        """Names of the first ``count`` positional parameters."""
        try:
            known = list(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):
            known = []
        return known[:count] if len(known) >= count else [f"argument {index + 1}" for index in range(count)]

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Describe the arguments with the function's parameter names."""
        by_position = {f"argument {index + 1}": value for index, value in enumerate(args)} | kwargs
        try:
            signature = inspect.signature(self.function)
        except (TypeError, ValueError):
            return describe_call(by_position) or None
        try:
            return describe_call(signature.bind(*args, **kwargs).arguments) or None
        except TypeError as error:
            takes, handed = ", ".join(signature.parameters) or "nothing", len(args) + len(kwargs)
            problem = f"your function takes ({takes}), but it is called with {handed} argument{'s' * (handed != 1)}"
            hint = "keep the parameters of the stub"
            raise CheckFailed(problem, describe_call(by_position) or None, hint) from error


def explain(error: BaseException) -> str:
    """``IndexError: index 5 is out of range (line 3: `x[5]`)``, with the learner's own line."""
    line, frame = "", learner_frame(error)
    if frame is not None:
        source = linecache.getline(frame.tb_frame.f_code.co_filename, frame.tb_lineno).strip()
        shown = source if len(source) <= LONGEST_SOURCE else source[: LONGEST_SOURCE - 1] + "…"
        line = f" (line {frame.tb_lineno}{f': `{shown}`' if shown else ''})"
    try:
        first = next(iter(str(error).strip().splitlines()), "")
    except Exception:
        first = "(its message cannot be printed)"
    return f"{type(error).__name__}{': ' if first else ''}{first[:160]}{line}"


def learner_frame(error: BaseException) -> TracebackType | None:
    """The innermost traceback entry that is the learner's own code, not the course's or a library's."""
    found, step = None, error.__traceback__
    while step is not None:
        if is_learners(step.tb_frame.f_code.co_filename):
            found = step
        step = step.tb_next
    return found


def is_stub(error: NotImplementedError) -> bool:
    """Whether a ``raise`` in the learner's code caused this error, and not a missing operation of a library."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    if step is None or not is_learners(step.tb_frame.f_code.co_filename):
        return False
    instructions = dis.get_instructions(step.tb_frame.f_code)
    return any(one.offset == step.tb_lasti and one.opname == "RAISE_VARARGS" for one in instructions)
