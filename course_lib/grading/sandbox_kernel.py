"""Starts the kernel inside the sandbox: ``python sandbox_kernel.py DESCRIPTOR``, or a path instead of a number.

The descriptor gives its settings as JSON; at the path is a socket that gives open descriptors, then the settings.

It runs before any code of a learner does: sets limits that cannot be raised again, takes over the listening
sockets that were opened outside (so that nothing outside has to be writable from here), and becomes a kernel.
Standard library and ipykernel only.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def read(place: str) -> dict[str, Any]:
    """The settings, with the numbers that the listening sockets have in this process."""
    if place.isdigit():
        with open(int(place), encoding="utf-8") as letter:
            return json.load(letter)
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(place)
        _, received, _, _ = socket.recv_fds(door, 1, 16)
        with door.makefile(encoding="utf-8") as letter:
            settings = json.load(letter)
    settings["descriptors"] = {port: received[order] for port, order in settings["descriptors"].items()}
    return settings


def apply_limits(limits: dict[str, int]) -> None:
    """Set hard and soft limits, for example ``{"RLIMIT_NOFILE": 256}``; names this system lacks are skipped."""
    import resource

    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            _, hard = resource.getrlimit(number)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))


def kernel_app(settings: dict[str, Any]) -> Any:
    """An ``IPKernelApp`` whose sockets listen on inherited file descriptors, where there are any."""
    import zmq
    from ipykernel.kernelapp import IPKernelApp

    descriptors = {int(port): descriptor for port, descriptor in settings["descriptors"].items()}

    class SandboxedKernel(IPKernelApp):
        def _try_bind_socket(self, socket: zmq.Socket, port: int) -> int:
            if port in descriptors:
                socket.setsockopt(zmq.USE_FD, descriptors[port])
            return super()._try_bind_socket(socket, port)

    return SandboxedKernel.instance()


def main() -> None:
    """Read the settings, set the limits, start the kernel, and never come back."""
    settings = read(sys.argv[1])
    os.makedirs(settings["home"], exist_ok=True)
    os.chdir(settings["home"])
    with open("connection.json", "w", encoding="utf-8") as file:
        json.dump(settings["connection"], file)
    apply_limits(settings["limits"])
    app = kernel_app(settings)
    app.initialize(["-f", os.path.abspath("connection.json"), "--HistoryManager.enabled=False", "--no-secure"])
    app.start()


if __name__ == "__main__":
    main()
