"""Print the values of a learner's function as one canonical line.

This module is in the sandbox beside the notebook, and the reference lines are made with it outside. It decides
nothing: a kernel in which it was changed still has to print the right values. Dictionaries and sets are sorted. Lists
and tuples are written alike, so are all floating dtypes but half precision, which has too few digits, and a tensor
without dimensions is a number, as in the checks.

Numbers are rounded so that another correct computation prints the same. A float keeps ``DIGITS`` digits; the entries
of a tensor are rounded at the last digit of its largest entry. A reference value too near a rounding edge is listed
in ``floors`` (its position among all floats of the line) and is rounded down instead.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import math
import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

DIGITS = 4
EDGE = 0.05
TINY = 1e-9
BESIDE = 4e-6
HALF = ("float16", "bfloat16")
_print = print
_pristine: dict[str, Any] = {}


class Writer:
    """Writes values canonically and remembers which floats lie near a rounding edge.

    Args:
        floors: positions of floats that are rounded down.
    """

    def __init__(self, floors: Collection[int] = ()) -> None:
        self.floors = frozenset(floors)
        self.near_edges: list[int] = []
        self.fragile = False
        self.count = 0

    def write(self, value: Any) -> str:
        """The canonical text of ``value``.

        Raises:
            TypeError: if a part of it is not a number, string, None, container or tensor.
        """
        kind = type(value)
        if value is None or kind is bool or kind is int:
            return str(value)
        if kind is str:
            return json.dumps(value)
        if kind is float:
            return self._float(value)
        if kind in (list, tuple):
            return "[" + ",".join(self.write(entry) for entry in value) + "]"
        if kind in (set, frozenset):
            return "{" + ",".join(sorted(self.write(entry) for entry in value)) + "}"
        if kind is dict:
            keys = sorted(value, key=lambda key: (type(key).__name__, str(key)))
            return "{" + ",".join(f"{self.write(key)}:{self.write(value[key])}" for key in keys) + "}"
        if kind.__name__ in ("Tensor", "Parameter"):
            return self._tensor(value)
        if kind.__name__ == "ndarray":
            return f"array {self._tensor(value)}"
        raise TypeError(f"a value of type {kind.__name__} cannot be written")

    def _float(self, value: float) -> str:
        if not math.isfinite(value):
            self.count += 1
            return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
        if abs(value) < TINY:
            self.fragile |= abs(value) > TINY / 10
            self.count += 1
            return "0.0"
        exponent = self._exponent(abs(value)) - DIGITS + 1
        return f"{self._rounded(value, exponent)}e{exponent}"

    def _exponent(self, size: float) -> int:
        """Position of the first digit; shifted by ``BESIDE``, so that powers of ten do not lie at an edge."""
        logarithm = math.log10(size) + BESIDE
        self.fragile |= abs(logarithm - round(logarithm)) < BESIDE / 4
        return math.floor(logarithm)

    def _rounded(self, value: float, exponent: int) -> int:
        scaled = value / 10.0**exponent if exponent > -300 else 0.0
        if abs(abs(scaled) % 1 - 0.5) < EDGE:
            self.near_edges.append(self.count)
        whole = math.floor(scaled) if self.count in self.floors else math.floor(scaled + 0.5)
        self.count += 1
        return whole

    def _tensor(self, value: Any) -> str:
        dtype = str(value.dtype).removeprefix("torch.")
        half = f"{dtype} " if dtype in HALF else ""
        if not value.shape:
            return half + self.write(_entries(value)[0])
        shape = ",".join(str(size) for size in value.shape)
        entries = _entries(value)
        if not dtype.startswith(("float", "bfloat")):
            text = "".join("01"[entry] for entry in entries) if dtype == "bool" else ",".join(map(str, entries))
            return f"{dtype}[{shape}]:{text}"
        largest = max((abs(entry) for entry in entries if math.isfinite(entry)), default=0.0)
        exponent = self._exponent(largest) - DIGITS + 1 if largest >= TINY else 0
        return f"{half}float[{shape}]e{exponent}:" + ",".join(self._entries(entries, exponent))

    def _entries(self, entries: Iterable[float], exponent: int) -> Iterable[str]:
        for entry in entries:
            if math.isfinite(entry):
                yield str(self._rounded(entry, exponent))
            else:
                self.count += 1
                yield str(entry)


class Silent(io.TextIOBase):
    """A stream that drops what is written to it."""

    def write(self, text: str) -> int:
        """Drop ``text``."""
        return len(text)


def prepare() -> None:
    """Remember the functions and settings that ``reset`` needs, before a learner's code can replace them."""
    import torch

    names = ("set_default_dtype", "set_default_device", "set_grad_enabled", "manual_seed", "set_num_threads",
             "are_deterministic_algorithms_enabled", "use_deterministic_algorithms", "set_printoptions",
             "set_float32_matmul_precision", "set_flush_denormal")  # fmt: skip
    _pristine.update({name: getattr(torch, name) for name in names})
    _pristine.update(
        threads=torch.get_num_threads(), float32=torch.float32, anomaly=torch.autograd.set_detect_anomaly,
        recursion=sys.getrecursionlimit(), stdout=sys.stdout, filters=list(warnings.filters),
    )  # fmt: skip


def reset() -> None:
    """Set torch's global state, and what else a probe depends on, as it is in a fresh kernel."""
    if not _pristine:
        prepare()
    _pristine["set_default_dtype"](_pristine["float32"])
    _pristine["set_default_device"](None)
    _pristine["set_grad_enabled"](True)
    _pristine["set_num_threads"](_pristine["threads"])
    if _pristine["are_deterministic_algorithms_enabled"]():
        _pristine["use_deterministic_algorithms"](False)  # imports a compiler, which takes a second
    _pristine["set_float32_matmul_precision"]("highest")
    _pristine["set_flush_denormal"](False)
    _pristine["set_printoptions"](profile="default")
    _pristine["anomaly"](False)
    _pristine["manual_seed"](0)
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
        numpy.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    sys.setrecursionlimit(_pristine["recursion"])
    warnings.filters[:] = _pristine["filters"]  # type: ignore[index]


def values(module: str, function: str, answer: Callable[..., Any], seed: int) -> Any:
    """What a probe returns for an answer and a seed, or the list of what it yields."""
    import torch

    from course_lib.learning.answer import Answer

    reset()
    questions = importlib.import_module(module)
    wrapped = Answer(answer, getattr(questions, "EXCLUDED", ()))
    found = getattr(questions, function)(wrapped, torch.Generator().manual_seed(seed))
    return list(found) if inspect.isgenerator(found) else found


def show(module: str, function: str, answer: Callable[..., Any], seed: int, floors: Collection[int]) -> None:
    """Print the canonical line of a probe; output of the answer itself is dropped."""
    with redirect_stdout(Silent()), redirect_stderr(Silent()):
        line = Writer(floors).write(values(module, function, answer, seed))
    _say(line)


def show_data(answer: Callable[[], Any]) -> None:
    """Print the exact value of an answer without arguments; it is judged outside the sandbox."""
    from course_lib.learning.answer import Answer

    reset()
    with redirect_stdout(Silent()), redirect_stderr(Silent()):
        line = json.dumps(tagged(Answer(answer)()), allow_nan=False)
    _say(line)


def _say(line: str) -> None:
    _print(line, file=_pristine["stdout"])


def tagged(value: Any) -> Any:
    """Plain values as JSON that tells types apart: ``["list", …]``, ``["dict", [key, value], …]`` and so on."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        return [kind.__name__, *(tagged(entry) for entry in value)]
    if kind in (set, frozenset):
        return ["set", *sorted((tagged(entry) for entry in value), key=str)]
    if kind is dict:
        return ["dict", *([tagged(key), tagged(entry)] for key, entry in value.items())]
    if kind.__name__ == "Tensor":
        return tagged(value.tolist())
    raise TypeError(f"a value of type {kind.__name__} cannot be written")


def untagged(value: Any) -> Any:
    """The plain value behind ``tagged``.

    Raises:
        ValueError: if the text does not come from ``tagged``.
    """
    if not isinstance(value, list):
        return value
    makers: dict[str, Callable[[list], Any]] = {"list": list, "tuple": tuple, "set": set}
    kind, entries = (value[0], value[1:]) if value and isinstance(value[0], str) else ("", [])
    try:
        if kind == "dict":
            return {untagged(key): untagged(entry) for key, entry in entries}
        return makers[kind]([untagged(entry) for entry in entries])
    except (KeyError, TypeError) as error:
        raise ValueError("not a tagged value") from error


def _entries(value: Any) -> list[Any]:
    flat = value.detach() if hasattr(value, "detach") else value
    return flat.flatten().tolist()
