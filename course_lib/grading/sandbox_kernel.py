"""Start the kernel inside the sandbox: ``python sandbox_kernel.py SOURCE``.

``SOURCE`` is the number of a file descriptor with the settings as JSON, or the path of a socket that sends open
descriptors and then the settings. Before any code of a learner runs, this sets limits that cannot be raised again
and takes the listening sockets that were opened outside, so that no folder outside has to be writable. It needs only
the standard library and ipykernel.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

JOIN_SESSION_KEYRING = 1


def read(source: str) -> dict[str, Any]:
    """The settings, with the numbers that the listening sockets have in this process."""
    if source.isdigit():
        with open(int(source), encoding="utf-8") as file:
            return json.load(file)
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(source)
        _, received, _, _ = socket.recv_fds(connection, 1, 16)
        with connection.makefile(encoding="utf-8") as file:
            settings = json.load(file)
    settings["descriptors"] = {port: received[order] for port, order in settings["descriptors"].items()}
    return settings


def apply_limits(limits: dict[str, int]) -> None:
    """Set hard and soft limits, for example ``{"RLIMIT_NOFILE": 256}``; names that this system lacks are skipped."""
    import resource

    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            _, hard = resource.getrlimit(number)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))


def leave_keyring() -> None:
    """Leave the session keyring that this process inherited (Linux); keys in it would outlive a submission."""
    import ctypes
    import platform

    number = {"x86_64": 250, "aarch64": 219}.get(platform.machine())
    if sys.platform.startswith("linux") and number is not None:
        ctypes.CDLL(None).syscall(number, JOIN_SESSION_KEYRING, None)


def kernel_app(settings: dict[str, Any]) -> Any:
    """An ``IPKernelApp`` whose sockets use the inherited file descriptors."""
    import zmq
    from ipykernel.kernelapp import IPKernelApp

    descriptors = {int(port): descriptor for port, descriptor in settings["descriptors"].items()}

    class SandboxedKernel(IPKernelApp):
        def _try_bind_socket(self, socket: zmq.Socket, port: int) -> int:
            if port in descriptors:
                socket.setsockopt(zmq.USE_FD, descriptors[port])
            return super()._try_bind_socket(socket, port)

    return SandboxedKernel.instance()


def reseed() -> None:
    """New seeds for generators that a fork copies; ``random`` does this by itself, torch starts with a fixed one."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def start(settings: dict[str, Any]) -> None:
    """Leave what could be shared, set the limits, and run the kernel until it ends."""
    os.makedirs(settings["home"], exist_ok=True)
    os.chdir(settings["home"])
    with open("connection.json", "w", encoding="utf-8") as file:
        json.dump(settings["connection"], file)
    leave_keyring()
    apply_limits(settings["limits"])
    app = kernel_app(settings)
    app.initialize(["-f", os.path.abspath("connection.json"), "--HistoryManager.enabled=False", "--no-secure"])
    app.start()


def main() -> None:
    """Read the settings and start the kernel."""
    start(read(sys.argv[1]))


if __name__ == "__main__":
    main()
