"""The level ``"container"``: podman or docker, for Linux machines where bubblewrap cannot be used.

The image of the container is empty; system and Python are mounted into it read-only, in the same view as for
bubblewrap. So nothing is downloaded, and the installed programs run. An engine passes no file descriptors to a
container: the kernel receives them over a socket that accepts one connection (``DescriptorSocket``).
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

from course_lib.grading.sandbox_view import LIBRARY, MEGABYTE, Limits, environment, views

ENGINES = ("podman", "docker")
IMAGE = "course-sandbox:empty"
EMPTY_ARCHIVE = bytes(10_240)
USER = "65534:65534"
SHARED_MEMORY = 64 * MEGABYTE
SOCKET = "descriptors"
STRETCH = 10  # times the seconds of a notebook: when a container ends whose grader was killed
ENGINE_VARIABLES = ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "DOCKER_HOST", "DOCKER_CONTEXT")


def engine() -> str | None:
    """Path of podman or docker; None if there is neither."""
    return next((found for name in ENGINES if (found := shutil.which(name))), None)


@functools.cache
def problem() -> str | None:
    """Why containers cannot be used here; None if a trial container was started."""
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
            command(["/usr/bin/env", "true"], {}, Limits(), "course-trial"), capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{Path(program).name} did not answer in time"
    return None if trial.returncode == 0 else f"{Path(program).name} starts no container ({_reason(trial)})"


def command(program: Sequence[str], files: Mapping[str, Path], limits: Limits, name: str) -> list[str]:
    """The command line that runs ``program`` in a container without network and rights; only ``/tmp`` is writable."""
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
    for inside, outside in sorted(files.items()):
        arguments += ["--volume", f"{outside}:{LIBRARY}/{inside}:ro"]
    limited = ["/usr/bin/timeout", "--signal=KILL", f"{STRETCH * limits.notebook_seconds:g}"]
    return [*arguments, IMAGE, *limited, *program]


def remove(name: str) -> None:
    """End a container with its processes; it may have ended already."""
    if (program := engine()) is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _call(program, "rm", "--force", name)


def variables() -> dict[str, str]:
    """The environment variables that an engine needs from the grader."""
    return {name: os.environ[name] for name in ENGINE_VARIABLES if name in os.environ}


class DescriptorSocket:
    """A socket at ``path`` that sends settings and open file descriptors over its first connection, then closes."""

    def __init__(self, path: Path, settings: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        self.path, self.settings = path, json.dumps(settings).encode()
        self.descriptors = [os.dup(one) for one in descriptors]
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.socket.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self.socket.accept()
            self.close()
            with connection:
                socket.send_fds(connection, [b"x"], self.descriptors)
                connection.sendall(self.settings)
        for one in self.descriptors:
            os.close(one)

    def close(self) -> None:
        """Accept no further connection."""
        self.path.unlink(missing_ok=True)
        self.socket.close()


def _call(program: str, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *arguments], input=input, capture_output=True, timeout=60, check=False)


def _reason(finished: subprocess.CompletedProcess[bytes]) -> str:
    lines = finished.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit status {finished.returncode}"
