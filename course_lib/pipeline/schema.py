"""JSON schema of pipelines: every argument is checked before anything runs, and every error names the remedy."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml


class PipelineError(ValueError):
    """A pipeline that cannot run: an unknown step or argument, a value out of range, or an impossible order."""


@cache
def _file() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("schema.yaml").read_text(encoding="utf-8"))


def step_names() -> tuple[str, ...]:
    """Names of all steps."""
    return tuple(_file()["steps"])


def methods(step: str) -> tuple[str, ...]:
    """Methods of a step, such as those of ``quantize``; empty for most."""
    return tuple(_file()["steps"][step].get("methods", ()))


def argument_schema(step: str, method: str | None = None) -> dict[str, Any]:
    """JSON schema of the arguments of a step, or of one of its methods."""
    found = copy.deepcopy(_file()["steps"][step])
    if method is not None:
        found = copy.deepcopy(found["methods"][method])
        found["properties"] = {"method": {"const": method}, **found["properties"]}
        found["required"] = ["method", *found.get("required", [])]
    return {"type": "object", "additionalProperties": False, **found}


def schema() -> dict[str, Any]:
    """JSON schema of a whole pipeline file, for editors: each step is a name, or a name with its arguments."""
    steps: list[dict[str, Any]] = [{"enum": list(step_names())}]
    for name in step_names():
        for method in methods(name) or (None,):
            arguments = argument_schema(name, method)
            steps.append({"type": "object", "properties": {name: arguments}, "required": [name], "maxProperties": 1})
    whole = copy.deepcopy(_file()["pipeline"])
    whole["properties"]["steps"]["items"] = {"anyOf": steps}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "additionalProperties": False, **whole}  # fmt: skip


def check_document(document: Any) -> None:
    """Check the entries of a pipeline file other than its steps.

    Raises:
        PipelineError: if it is no mapping, or an entry is unknown or has a wrong type.
    """
    if not isinstance(document, Mapping):
        raise PipelineError(f"a pipeline must be a mapping with 'steps', got {type(document).__name__}")
    _check_names("entry", document, _file()["pipeline"]["properties"], "the pipeline")
    _check_values(document, {"type": "object", **_file()["pipeline"]}, "the pipeline")


def complete_arguments(name: str, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The checked arguments of a step, those that are missing with their defaults.

    Args:
        where: for errors, such as ``"step 2"``.

    Raises:
        PipelineError: names the step or argument, its value, and what is allowed.
    """
    if name not in step_names():
        raise PipelineError(f"{where} is unknown: {name!r}{_nearest(name, step_names())}; {_listed(step_names())}")
    where, method = f"{where} ({name})", None
    if methods(name):
        method = arguments.get("method")
        if method not in methods(name):
            allowed = _listed(methods(name))
            raise PipelineError(f"{where}: method {method!r} is unknown{_nearest(method, methods(name))}; {allowed}")
    described = argument_schema(name, method)
    _check_names("argument", arguments, described["properties"], where)
    if exclusive := described.pop("oneOf", None):
        _check_exclusive(arguments, [case["required"][0] for case in exclusive], where)
    _check_values(arguments, described, where)
    defaults = {key: entry["default"] for key, entry in described["properties"].items() if "default" in entry}
    return {**copy.deepcopy(defaults), **arguments}


def _check_names(kind: str, given: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise PipelineError(f"{where}: {kind} {key!r} is unknown{_nearest(key, known)}; {_listed(known)}")


def _check_exclusive(arguments: Mapping[str, Any], names: list[str], where: str) -> None:
    given = [name for name in names if name in arguments]
    if len(given) != 1:
        found = f"both {' and '.join(map(repr, given))}" if given else "none"
        raise PipelineError(f"{where} needs exactly one of {', '.join(map(repr, names))}, got {found}")


def _check_values(values: Mapping[str, Any], described: Mapping[str, Any], where: str) -> None:
    """The first violation as one line: which argument, its value, and what the schema allows."""
    error = next(iter(jsonschema.Draft202012Validator(dict(described)).iter_errors(dict(values))), None)
    if error is None:
        return
    if error.validator == "required":
        absent = [name for name in error.validator_value if name not in error.instance]
        raise PipelineError(f"{where} needs the argument {absent[0]!r}; add it, for example `{absent[0]}: …`")
    name = ".".join(map(str, error.absolute_path)) or "value"
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
              "enum": "one of", "type": "of type", "minItems": "a list of at least this length:"}  # fmt: skip
    rule = f"{limits.get(str(error.validator), str(error.validator))} {error.validator_value}"
    raise PipelineError(f"{where}: {name} must be {rule}, got {error.instance!r}")


def _nearest(name: Any, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _listed(known: Collection[str]) -> str:
    return f"known are {', '.join(known)}"
