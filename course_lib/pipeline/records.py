"""A results file of JSON lines that several processes may append to."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from course_lib import profiling
from course_lib.pipeline.cache import versions


def append_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Append ``record`` as one line; a line that a killed writer left unfinished stays apart from it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    with FileLock(path.with_name(f".{path.name}.lock")), path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = b"\n" + line
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """All whole records of a file, in order; lines that are not JSON (unfinished ones) are left out."""
    records = []
    path = Path(path)
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def provenance(seconds: float, threads: int) -> dict[str, Any]:
    """Where and with what a result was made."""
    return {
        **versions(), "python": platform.python_version(), "machine": str(profiling.machine()),
        "host": platform.node(), "process": os.getpid(), "threads": threads, "seconds": seconds,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }  # fmt: skip


def set_threads(threads: int | None) -> int:
    """Set the number of threads of torch, if one is given; returns the number in use."""
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()
