"""The template of a submission's kernels: ``python kernel_template.py`` inside a sandbox without network.

It imports what every kernel of an exercise needs, and forks a child for each kernel. It never runs a learner's code
and reads nothing from a kernel. For each request there are three processes, so that nothing flows back:

* the supervisor stays outside of the new namespaces; it ends them when the grader hangs up, and reports their end;
* the first process in them reaps orphans, and all others end with it;
* the kernel, an unprivileged user with hard limits before the first line of a learner's code runs.

A request is one packet with the settings of ``sandbox_kernel`` and open descriptors: the sockets of the kernel, then
files that add a process to a control group. Needs only the standard library, ipykernel and the exercise.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

import isolation  # type: ignore[import-not-found]
import sandbox_kernel  # type: ignore[import-not-found]
import zmq

PACKET = 200_000
DESCRIPTORS = 32
KERNEL = (
    "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.debugger", "IPython.core.completer",
    "IPython.core.completerlib", "IPython.core.debugger", "IPython.core.oinspect", "IPython.extensions.storemagic",
    "tornado.platform.asyncio", "faulthandler", "zmq",
)  # fmt: skip
"""What ipykernel imports before it is ready; each kernel would spend a quarter of a second on it."""
FIRST_PROCESS_UID = 209_999


def main() -> None:
    """Import, try whether a kernel can be isolated here, say so, and fork kernels until the grader ends."""
    setup = json.loads(sys.argv[1])
    listener = socket.socket(fileno=setup["listener"])
    for name in (*KERNEL, *setup["modules"]):
        with contextlib.suppress(Exception):  # the kernel shows the error of an import that fails
            importlib.import_module(name)
    problem = _prepared(setup["uid"]) or _problem(setup["uid"], setup["kept"])
    os.write(1, f"{problem or 'ready'}\n".encode())
    if problem is None:
        gc.collect()
        gc.freeze()
        serve(listener, setup["kept"])


def serve(listener: socket.socket, kept: list[str]) -> None:
    """Fork a supervisor for each connection until standard input is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener.fileno(), 0], [], [])
        if 0 in ready:
            return
        connection, _ = listener.accept()
        if _is_foreign(connection):
            connection.close()
            continue
        if os.fork() == 0:
            _forked(supervise, connection, kept)
        connection.close()


def _is_foreign(connection: socket.socket) -> bool:
    """Whether another user than that of the grader asks; the system says which it is."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] != os.getuid()


def supervise(connection: socket.socket, kept: list[str]) -> int:
    """Read a request, fork the namespaces' first process, and end it when the grader hangs up."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    packet, received, _, _ = socket.recv_fds(connection, PACKET, DESCRIPTORS)
    settings = {**json.loads(packet), "kept": kept}
    sockets, groups = received[: settings["sockets"]], received[settings["sockets"] :]
    isolation.close_all_but([connection.fileno(), *received])
    for group in groups:
        os.write(group, b"0")
        os.close(group)
    connection.send(b"supervisor")
    outer = isolation.namespaces()
    isolation.unshare()
    first = os.fork()
    if first == 0:
        _forked(begin, settings, outer, connection, sockets)
    for one in sockets:
        os.close(one)
    return _wait(first, connection)


def begin(settings: dict[str, Any], outer: dict[str, str], connection: socket.socket, sockets: list[int]) -> int:
    """The first process of the namespaces: prepare them, fork the kernel, and reap until the kernel has ended."""
    isolation.seal(settings["scratch_mb"], settings["kept"])
    gate, opened = os.pipe()
    kernel = os.fork()
    if kernel == 0:
        os.close(opened)
        _forked(run, settings, outer, connection, sockets, gate)
    isolation.close_all_but([opened])
    isolation.drop_rights(settings["uid"] and FIRST_PROCESS_UID)
    isolation.hide_memory()
    isolation.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.write(opened, b"1")
    os.close(opened)
    while True:
        pid, status = os.wait()
        if pid == kernel:
            return os.waitstatus_to_exitcode(status) & 0xFF


def run(
    settings: dict[str, Any], outer: dict[str, str], connection: socket.socket, sockets: list[int], gate: int
) -> int:
    """The kernel: limits, an unprivileged user, a last check, and then the learner's code."""
    os.setsid()
    if os.read(gate, 1) != b"1":  # the first process has given up its rights
        return 70
    isolation.close_all_but([connection.fileno(), *sockets])
    isolation.drop_rights(settings["uid"])
    isolation.hide_memory(False)
    isolation.require_isolated(outer, settings["uid"], [connection.fileno(), *sockets])
    connection.send(b"kernel")
    connection.close()
    sandbox_kernel.reseed()
    sys.argv[:] = [os.path.join(os.path.dirname(__file__), "sandbox_kernel.py")]
    settings["descriptors"] = {port: sockets[order] for port, order in settings["descriptors"].items()}
    os.chdir("/tmp")
    sandbox_kernel.start(settings)
    return 0


def _wait(first: int, connection: socket.socket) -> int:
    """Wait for the first process or for the grader to hang up; either ends all processes of the namespaces."""
    child = os.pidfd_open(first)
    ready, _, _ = select.select([child, connection.fileno()], [], [])
    if child not in ready:
        os.kill(first, signal.SIGKILL)
    _, status = os.waitpid(first, 0)
    with contextlib.suppress(OSError):
        connection.send(b"%d" % os.waitstatus_to_exitcode(status))
    return 0


def _prepared(uid: int | None) -> str | None:
    """Forbid further user namespaces where the kernels keep this process's user; why that failed, if it did."""
    try:
        if uid is None:
            isolation.forbid_user_namespaces()
    except OSError as error:
        return str(error)
    return None


def _problem(uid: int | None, kept: list[str]) -> str | None:
    """Why no kernel can be isolated here; None if it can: tried with a child of its own."""
    if (threads := len(os.listdir("/proc/self/task"))) != 1:
        return f"the template has {threads} threads"
    if shared := isolation.shared_memory():
        return f"the template has shared memory: {shared[0]}"
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        _forked(_try, uid, kept, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        reason = answer.read()
    os.waitpid(pid, 0)
    return None if reason == "isolated" else reason or "a trial ended without an answer"


def _try(uid: int | None, kept: list[str], writer: int) -> int:
    try:
        outer = isolation.namespaces()
        isolation.unshare()
        if (pid := os.fork()) == 0:
            _forked(_try_inside, uid, kept, outer, writer)
        os.waitpid(pid, 0)
    except OSError as error:
        os.write(writer, str(error).encode())
    return 0


def _try_inside(uid: int | None, kept: list[str], outer: dict[str, str], writer: int) -> int:
    try:
        isolation.seal(1, kept)
        isolation.close_all_but([writer])
        isolation.drop_rights(uid)
        isolation.hide_memory(False)
        isolation.require_isolated(outer, uid, [writer])
        needed = (sys.executable, os.__file__, __file__, zmq.__file__)
        missing = [path for path in needed if not os.path.exists(path)]
        os.write(writer, f"{missing[0]} is not visible in a kernel".encode() if missing else b"isolated")
    except OSError as error:
        os.write(writer, str(error).encode())
    return 0


def _forked(job: Any, *arguments: Any) -> NoReturn:
    """In a forked child: run ``job`` and end with the status that it returns; never return to the template's code."""
    status = 70
    try:
        status = job(*arguments)
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
