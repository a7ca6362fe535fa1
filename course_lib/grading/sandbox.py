"""Sandbox levels for a learner's code, strongest first.

``"bwrap"`` (Linux with bubblewrap) and ``"container"`` (podman or docker) hide the file system, the network and all
other processes. ``"process"`` only sets limits and a clean environment; it does not protect from hostile code and
must be requested. If the requested level is not available, nothing runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_lib.grading import bubblewrap, cgroups, containers
from course_lib.grading.sandbox_view import HOME, LIBRARY, MEGABYTE, Limits, SandboxError, environment, shows

__all__ = ["HOME", "LEVELS", "LIBRARY", "MEGABYTE", "Limits", "SandboxError", "environment", "shows"]

LEVELS = ("bwrap", "container", "process")
AUTO = "auto"


def require(level: str = "bwrap") -> str:
    """Return ``level`` if it works here.

    Raises:
        SandboxError: if it does not, with the reason; the caller must not go on without it.
        ValueError: if there is no such level.
    """
    if reason := problem(level):
        raise _no_sandbox(reason)
    return level


def problem(level: str) -> str | None:
    """Why a level does not work here; None if it does.

    Raises:
        ValueError: if there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(map(repr, LEVELS))}; got {level!r}")
    if level == "bwrap":
        return bubblewrap.problem()
    return containers.problem() if level == "container" else None


def choose(level: str, *, allow_unsandboxed: bool = False) -> str:
    """The level to grade a class at: the requested one, or with ``"auto"`` the strongest that works here.

    Args:
        allow_unsandboxed: level ``"process"`` may be used; it gives no protection.

    Raises:
        SandboxError: if the level is not allowed or does not work here; with ``"auto"``, if none that protects does.
    """
    if level == "process" and not allow_unsandboxed:
        raise SandboxError(
            "level 'process' does not protect this machine from what is graded; it has to be allowed explicitly"
        )
    if level != AUTO:
        return require(level)
    reasons = {name: problem(name) for name in LEVELS}
    strongest = next(name for name, reason in reasons.items() if reason is None)
    if strongest == "process" and not allow_unsandboxed:
        raise _no_sandbox("; ".join(filter(None, reasons.values())))
    return strongest


def report() -> tuple[str, str]:
    """The strongest level that works here, and why stronger ones do not; containers are tried only if bwrap fails."""
    reasons: list[str] = []
    for level in LEVELS[:-1]:
        if (reason := problem(level)) is None:
            groups = "only per process" if cgroups.version() == "none" else f"control groups {cgroups.version()}"
            return level, "; ".join([*reasons, f"limits on all processes together: {groups}"])
        reasons.append(f"{level}: {reason}")
    return LEVELS[-1], "; ".join(reasons)


def _no_sandbox(reason: str) -> SandboxError:
    return SandboxError(f"no sandbox: {reason}; hostile code would reach this machine, so nothing was run")


def limits(settings: Iterable[str]) -> Limits:
    """Limits from texts such as ``memory_mb=4096``; all others keep their defaults.

    Raises:
        ValueError: if a text cannot be read, or names no limit.
    """
    known = {name: type(value) for name, value in asdict(Limits()).items()}
    chosen: dict[str, Any] = {}
    for text in settings:
        name, _, value = text.partition("=")
        try:
            chosen[name] = known[name](value)
        except (KeyError, ValueError) as error:
            allowed = ", ".join(known)
            raise ValueError(f"a limit must be NAME=NUMBER with one of {allowed}; got {text!r}") from error
    return Limits(**chosen)


def wrap(level: str, command: Sequence[str], files: Mapping[str, Path], limits: Limits, name: str) -> list[str]:
    """The command line that runs ``command`` at this level, with ``files`` in ``/course`` (container: ``name``)."""
    if level == "bwrap":
        return bubblewrap.command(command, files, limits)
    if level == "container":
        return containers.command(command, files, limits, name)
    return list(command)


def require_hidden(level: str, **folders: str | Path) -> None:
    """Check that the sandbox does not show the grader's own folders.

    Raises:
        SandboxError: if a learner's code could read one of them.
    """
    for name, folder in folders.items():
        if level != "process" and shows(folder):
            raise SandboxError(
                f"{name} folder {os.fspath(folder)} lies where the sandbox shows the system or Python; use another one"
            )
