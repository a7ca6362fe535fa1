"""Limits on all processes of a submission together, where the grader may create control groups.

Memory and processes are limited, processor time is limited to that of ``PROCESSORS`` and counted. Version 1 and
version 2 of the Linux interface are detected. On other systems, and for a grader that is not root, only the limits
per process apply.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

ROOT = Path("/sys/fs/cgroup")
PREFIX = "course-"
PROCESSORS = 1
PERIOD = 100_000  # microseconds


def version() -> str:
    """``"v2"``, ``"v1"`` or ``"none"``: what this process can use to limit memory and processes."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "none"
    controllers = ROOT / "cgroup.subtree_control"
    if controllers.is_file() and {"memory", "pids"} <= set(controllers.read_text().split()):
        return "v2"
    if all((ROOT / name / "cgroup.procs").is_file() for name in ("memory", "pids")):
        return "v1"
    return "none"


@contextlib.contextmanager
def group(memory_bytes: int, processes: int) -> Iterator[list[str]]:
    """Folders of a new group with these limits; it is killed and removed at the end. Empty without cgroups."""
    folders: list[Path] = []
    _remove_abandoned()
    try:
        folders = _create(memory_bytes, processes)
    except OSError:
        _remove(folders)
        folders = []
    try:
        yield [str(folder) for folder in folders]
    finally:
        _remove(folders)


def joiner(folders: Sequence[str]) -> Callable[[], None] | None:
    """A ``preexec_fn`` that moves the child process into the group; None if there is no group."""
    if not folders:
        return None

    def join() -> None:
        for folder in folders:
            with open(f"{folder}/cgroup.procs", "w") as file:
                file.write("0")

    return join


def members(folders: Sequence[str]) -> list[IO[str]]:
    """Open files that move the process which writes ``0`` to them into the group."""
    return [open(f"{folder}/cgroup.procs", "w") for folder in folders]


def processor_seconds(folders: Sequence[str]) -> float | None:
    """Processor time of all processes that were ever in the group; None if the system does not count it."""
    for folder in map(Path, folders):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if (nanoseconds := folder / "cpuacct.usage").is_file():
                return int(nanoseconds.read_text()) / 1e9
            words = (folder / "cpu.stat").read_text().split()
            return int(words[words.index("usage_usec") + 1]) / 1e6
    return None


def _remove_abandoned() -> None:
    """Remove the groups of graders that were killed; the name of a group contains the process id of its grader."""
    if version() == "none":
        return
    for folder in [*ROOT.glob(f"{PREFIX}*"), *ROOT.glob(f"*/{PREFIX}*")]:
        owner = folder.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            _remove([folder])


def _create(memory_bytes: int, processes: int) -> list[Path]:
    name = f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    settings = _settings(name, memory_bytes, processes)
    for folder, files in settings.items():
        folder.mkdir()
        for file, value in files.items():
            with contextlib.suppress(FileNotFoundError):
                (folder / file).write_text(str(value))
    return list(settings)


def _settings(name: str, memory_bytes: int, processes: int) -> dict[Path, dict[str, int | str]]:
    """Folder → file → value; the controllers of version 1 may share a folder, and those of time may be missing."""
    quota, kind = PROCESSORS * PERIOD, version()
    if kind == "v2":
        limits: dict[str, int | str] = {"memory.max": memory_bytes, "memory.swap.max": 0, "pids.max": processes}
        return {ROOT / name: limits | {"cpu.max": f"{quota} {PERIOD}"}}
    controllers: dict[str, dict[str, int | str]] = {
        "memory": {"memory.limit_in_bytes": memory_bytes, "memory.memsw.limit_in_bytes": memory_bytes},
        "pids": {"pids.max": processes},
        "cpu": {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": quota},
        "cpuacct": {},
    }
    settings: dict[Path, dict[str, int | str]] = {}
    for controller, files in controllers.items() if kind == "v1" else ():
        if (ROOT / controller / "cgroup.procs").is_file():
            settings.setdefault((ROOT / controller).resolve() / name, {}).update(files)
    return settings


def _remove(folders: Sequence[Path], seconds: float = 5.0) -> None:
    """Kill the remaining processes and remove the folders; retried, because processes need time to end."""
    deadline = time.monotonic() + seconds
    for folder in folders:
        while folder.is_dir():
            try:
                for pid in (folder / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), 9)
                folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
