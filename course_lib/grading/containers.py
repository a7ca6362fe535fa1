"""The level ``"container"``: podman or docker, for Linux machines where bubblewrap cannot be used.

The container is made of an image that holds nothing; system and Python are mounted into it read-only, as the other
level shows them. So there is nothing to download, and what runs is what is installed here. An engine hands over no
file descriptors: the kernel fetches them at a door, a socket that is open to it once (``Door``).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from course_lib.grading.sandbox_view import LIBRARY, MEGABYTE, Limits, Room, environment, views

ENGINES = ("podman", "docker")
IMAGE = "course-sandbox:empty"
EMPTY_ARCHIVE = bytes(10_240)
USER = "65534:65534"
SHARED_MEMORY = 64 * MEGABYTE
DOOR = "door"
LONGEST = 10  # times the seconds of a notebook: the end of a container whose grader was killed
ENGINE_VARIABLES = ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "DOCKER_HOST", "DOCKER_CONTEXT")


def engine() -> str | None:
    """Path of podman or docker; None if there is neither."""
    return next((found for name in ENGINES if (found := shutil.which(name))), None)


@functools.cache
def problem() -> str | None:
    """Why no container can be used here; None if one was started."""
    if not sys.platform.startswith("linux"):
        return "a container of this machine's own Python needs Linux"
    if (program := engine()) is None:
        return "neither podman nor docker is installed"
    try:
        if _call(program, "image", "inspect", IMAGE).returncode:
            made = _call(program, "import", "-", IMAGE, input=EMPTY_ARCHIVE)
            if made.returncode:
                return f"{Path(program).name} is installed but does not answer ({_reason(made)})"
        trial = subprocess.run(
            command(["/usr/bin/env", "true"], Room(), Limits(), "course-trial"), capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{Path(program).name} did not answer in time"
    return None if trial.returncode == 0 else f"{Path(program).name} starts no container ({_reason(trial)})"


def command(program: Sequence[str], room: Room, limits: Limits, name: str) -> list[str]:
    """``program`` in a container without network, rights, or anything to write to but a small ``/tmp``."""
    arguments = [
        engine() or ENGINES[0], "run", "--rm", "--name", name, "--network", "none", "--read-only", "--user", USER,
        "--cap-drop", "all", "--security-opt", "no-new-privileges", "--security-opt", "label=disable",
        "--ipc", "private", "--hostname", "sandbox", "--pids-limit", str(limits.processes),
        "--memory", f"{limits.memory_mb}m", "--memory-swap", f"{limits.memory_mb}m",
        "--shm-size", str(SHARED_MEMORY), "--tmpfs", f"/tmp:rw,size={limits.scratch_mb * MEGABYTE},mode=1777",
        "--workdir", "/tmp",
    ]  # fmt: skip
    for variable, value in environment().items():
        arguments += ["--env", f"{variable}={value}"]
    for view in views():
        if view.kind == "cover":
            arguments += ["--tmpfs", f"{view.path}:ro,size=65536"]
        else:
            arguments += ["--volume", f"{view.path.resolve()}:{view.path}:ro"]
    for inside, outside in sorted(room.files.items()):
        arguments += ["--volume", f"{outside}:{LIBRARY}/{inside}:ro"]
    limited = ["/usr/bin/timeout", "--signal=KILL", f"{LONGEST * limits.notebook_seconds:g}"]
    return [*arguments, IMAGE, *limited, *program]


def remove(name: str) -> None:
    """End a container and what runs in it; one that is gone is fine."""
    if (program := engine()) is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _call(program, "rm", "--force", name)


def variables() -> dict[str, str]:
    """What an engine's program needs from the environment of the grader."""
    return {name: os.environ[name] for name in ENGINE_VARIABLES if name in os.environ}


class Door:
    """A socket at ``path`` that hands a letter and open file descriptors to the first who comes, and to nobody else."""

    def __init__(self, path: Path, letter: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        self.path, self.letter = path, json.dumps(letter).encode()
        self.descriptors = [os.dup(one) for one in descriptors]
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.socket.listen(1)
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        with contextlib.suppress(OSError):
            visitor, _ = self.socket.accept()
            self.close()
            with visitor:
                socket.send_fds(visitor, [b"x"], self.descriptors)
                visitor.sendall(self.letter)
        for one in self.descriptors:
            os.close(one)

    def close(self) -> None:
        """Nobody else is let in."""
        self.path.unlink(missing_ok=True)
        self.socket.close()


def _call(program: str, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *arguments], input=input, capture_output=True, timeout=60, check=False)


def _reason(finished: subprocess.CompletedProcess[bytes]) -> str:
    lines = finished.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit status {finished.returncode}"
