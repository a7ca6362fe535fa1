"""Template processes: one for each exercise, from which the kernels of its submissions are forked.

A kernel takes two seconds to import torch; a fork of a process that has imported it takes milliseconds. The template
runs in the same bubblewrap sandbox that a kernel would get, never runs a learner's code, and each kernel is isolated
again before its first line (``kernel_template``). Where the system does not allow this, ``address`` returns None
and the provisioner starts each kernel as a new program in bubblewrap, with the same isolation.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from course_lib.grading import bubblewrap
from course_lib.grading.sandbox_view import LIBRARY, views

PROGRAM = "kernel_template.py"
SOURCES = (PROGRAM, "isolation.py", "sandbox_kernel.py")
GENERATED = "course_lib/learning/exercises/"
OWN_CELLS = ("start", "pristine-")
START_SECONDS = 120.0
ANSWER_SECONDS = 60.0
END_SECONDS = 10.0
KEPT = 2
HASHED_BYTES = 1_000_000
CREDENTIALS = struct.Struct("3i")
_templates = threading.local()


def address(notebook: NotebookNode, files: Mapping[str, Path]) -> str | None:
    """The address of a template for this exercise, started if needed; None where there can be none.

    It is an abstract socket: no file is left behind, no sandbox with a network of its own reaches it, and the template
    accepts only processes of the grader's own user.

    Args:
        notebook: its own cells, not those of the learner, say what is imported.
        files: what the kernel sees in its library folder, by the path inside it.
    """
    if not available():
        return None
    modules = preloaded(notebook, files)
    key = _key(modules, files)
    kept: OrderedDict[str, Template] = _templates.__dict__.setdefault("kept", OrderedDict())
    if key not in kept or not kept[key].is_alive():
        while len(kept) >= KEPT:
            kept.popitem(last=False)[1].close()
        if old := kept.pop(key, None):
            old.close()
        kept[key] = Template(modules, files)
    kept.move_to_end(key)
    return kept[key].address if kept[key].problem is None else None


def close_all() -> None:
    """End the templates of the current thread; the next kernel starts its template again."""
    for template in _templates.__dict__.pop("kept", {}).values():
        template.close()


def available() -> bool:
    """Whether kernels may be forked here: Linux with ``pidfd``, and not switched off (``COURSE_KERNEL_TEMPLATE=0``)."""
    return (
        sys.platform.startswith("linux")
        and hasattr(os, "pidfd_open")
        and os.environ.get("COURSE_KERNEL_TEMPLATE", "1") != "0"
    )


def preloaded(notebook: NotebookNode, files: Mapping[str, Path]) -> list[str]:
    """The modules that every kernel of the exercise imports, without a look at any cell of the learner."""
    found = [name for cell in notebook.cells if cell.id.startswith(OWN_CELLS) for name in _imported(cell.source)]
    found += [_module(name) for name in sorted(files) if name.startswith(GENERATED)]
    return [*dict.fromkeys(found)]


class Template:
    """A running template; ``problem`` says why it cannot be used."""

    def __init__(self, modules: Sequence[str], files: Mapping[str, Path]) -> None:
        self.address = f"\0course-template-{secrets.token_hex(16)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.address)
            listener.listen(4)
            self.process = _start(listener, modules, files)
        self.problem = self._answer()
        if self.problem is not None:
            self.process.kill()

    def is_alive(self) -> bool:
        """Whether it runs, or has said why it cannot."""
        return self.problem is not None or self.process.poll() is None

    def close(self) -> None:
        """End it and all kernels that were forked from it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> str | None:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        text = self.process.stdout.readline().decode(errors="replace").strip() if ready else "it does not start in time"
        return None if text == "ready" else text or "it ended"


class ForkedKernel:
    """The provisioner's end of a kernel that was forked from a template; used like ``subprocess.Popen``.

    Args:
        address: see ``address``.
        request: settings of the kernel, see ``kernel_template``.
        descriptors: open sockets, then open files of control groups.

    Raises:
        OSError: if the kernel was not started.
    """

    stdin = stdout = stderr = None

    def __init__(self, address: str, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        self.returncode: int | None = None
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.connection.settimeout(ANSWER_SECONDS)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self.connection.connect(address)
            socket.send_fds(self.connection, [json.dumps(request).encode()], list(descriptors))
            self._supervisor = os.pidfd_open(self._sender(b"supervisor"))
            self.pid = self._sender(b"kernel")
        except OSError:
            self.connection.close()
            raise

    def _sender(self, message: bytes) -> int:
        """The process that sent ``message``; the system, not the sender, says which it was."""
        content, ancillary, _, _ = self.connection.recvmsg(64, socket.CMSG_SPACE(CREDENTIALS.size))
        if content != message or not ancillary:
            raise OSError(f"the template forked no kernel: {content!r} instead of {message!r}")
        return CREDENTIALS.unpack(ancillary[0][2])[0]

    def poll(self) -> int | None:
        """The exit status; None while the kernel runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the kernel has ended; its exit status.

        Raises:
            subprocess.TimeoutExpired: if it does not end in time.
        """
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Any signal ends the kernel: for everything else it has a control channel."""
        self.kill()

    def terminate(self) -> None:
        """The same as ``kill``."""
        self.kill()

    def kill(self) -> None:
        """End the kernel and all of its processes: the supervisor does it, or else its own end."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        if self._wait(END_SECONDS) is None:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._supervisor, signal.SIGKILL)

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            ready, _, _ = select.select([self.connection], [], [], timeout)
            if ready:
                content = self.connection.recv(64)
                self.returncode = int(content or -9)
                self.connection.close()
                os.close(self._supervisor)
        return self.returncode


def _start(listener: socket.socket, modules: Sequence[str], files: Mapping[str, Path]) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    setup = {"listener": listener.fileno(), "modules": [*modules], "uid": bubblewrap.user(), "kept": shown_in_tmp()}
    program = [sys.executable, "-P", f"{LIBRARY}/{PROGRAM}", json.dumps(setup)]
    shown = {**files, **{name: here / name for name in SOURCES}}
    return subprocess.Popen(
        bubblewrap.template(program, shown), pass_fds=[listener.fileno()], cwd="/", start_new_session=True, bufsize=0,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def shown_in_tmp() -> list[str]:
    """The folders in ``/tmp`` through which the sandbox shows Python; each kernel has a ``/tmp`` of its own."""
    inside = [view.path.relative_to("/tmp") for view in views() if view.path.is_relative_to("/tmp")]
    return [*dict.fromkeys(path.parts[0] for path in inside)]


def _key(modules: Sequence[str], files: Mapping[str, Path]) -> str:
    """Changes with everything that the template shows or imports."""
    digest = hashlib.sha256(json.dumps([*modules]).encode())
    for name, path in sorted(files.items()):
        stat = path.stat()
        small = stat.st_size < HASHED_BYTES
        content = path.read_bytes() if small else f"{path}{stat.st_size}{stat.st_mtime_ns}".encode()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
