"""A kernel provisioner that starts the kernel in the sandbox, so that ``pytest --nbval`` needs no change.

The listening sockets are opened outside and passed as file descriptors: the kernel uses them although it sees neither
the network nor their folder, and it can write nothing outside the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from course_lib.grading import bubblewrap, cgroups, containers, sandbox, templates

NAME = "course-sandbox"
CHANNELS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
LAUNCHER = "sandbox_kernel.py"
SECONDS = "seconds.txt"  # beside the settings file: the time that the guard counted
MESSAGE_BYTES = 1024 * 1024
QUEUED_MESSAGES = 64


class SandboxProvisioner(LocalProvisioner):
    """Runs the kernel at the sandbox level in the settings file of the submission."""

    settings: dict[str, Any]
    process: Any  # subprocess.Popen or templates.ForkedKernel
    listeners: list[socket.socket]
    settings_pipe: int | None = None
    descriptor_socket: containers.DescriptorSocket | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose the ipc transport in a private folder, open the sockets, and set the sandboxed command."""
        self.settings = read_settings()
        manager: Any = self.parent
        folder = settings_file().parent / "sockets"
        folder.mkdir(mode=0o700)
        manager.transport, manager.ip = "ipc", str(folder / "k")
        for channel, number in CHANNELS.items():
            setattr(manager, channel, number)
        manager.context.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
        manager.context.setsockopt(zmq.RCVHWM, QUEUED_MESSAGES)
        kwargs = await super().pre_launch(**kwargs)
        self.listeners = [_listen(f"{manager.ip}-{number}") for number in CHANNELS.values()]
        kwargs["cmd"] = self._command(self._kernel_settings(manager), folder)
        kwargs["pass_fds"] = self._passed_descriptors()
        kwargs["env"] = self._environment()
        kwargs["cwd"] = "/"
        kwargs["stdout"] = kwargs["stderr"] = subprocess.DEVNULL  # they could fill a file outside
        kwargs["preexec_fn"] = cgroups.joiner(self.settings["cgroup"])
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Fork the kernel from its template, or start it, and close this process's copies of the passed descriptors."""
        connection = self._fork() or await super().launch_kernel(cmd, **kwargs)
        for one in self.listeners:
            one.close()
        if self.settings_pipe is not None:
            os.close(self.settings_pipe)
        return connection

    def _fork(self) -> Any:
        """The connection of a kernel that was forked from the template; None if there is none or it failed."""
        if self.settings["template"] is None:
            return None
        request = self._kernel_settings(self.parent)
        descriptors = [one.fileno() for one in self.listeners]
        request |= {
            "descriptors": dict(zip(CHANNELS.values(), range(len(descriptors)), strict=True)),
            "sockets": len(descriptors), "uid": bubblewrap.user(), "scratch_mb": self.settings["limits"]["scratch_mb"],
        }  # fmt: skip
        try:
            with contextlib.ExitStack() as stack:
                groups = [stack.enter_context(file) for file in cgroups.members(self.settings["cgroup"])]
                descriptors += [file.fileno() for file in groups]
                kernel = templates.ForkedKernel(self.settings["template"], request, descriptors)
        except OSError:
            return None
        self.process, self.pid, self.pgid = kernel, kernel.pid, None
        return self.connection_info

    def _kernel_settings(self, manager: Any) -> dict[str, Any]:
        """Settings for ``sandbox_kernel``; a descriptor is an inherited number, or an index into the received ones."""
        level, home = self.settings["level"], self.settings["home"]
        connection = manager.get_connection_info(session=False)
        connection |= {"key": connection["key"].decode(), "ip": f"{home}/k"}
        rlimits = sandbox.Limits(**self.settings["limits"]).rlimits()
        if level != "bwrap":
            del rlimits["RLIMIT_NPROC"]  # it counts all processes of the user, not only those of the submission
        descriptors = [one.fileno() for one in self.listeners]
        numbers = range(len(descriptors)) if level == "container" else descriptors
        return {
            "connection": connection, "descriptors": dict(zip(CHANNELS.values(), numbers, strict=True)),
            "limits": rlimits, "home": home,
        }  # fmt: skip

    def _command(self, kernel_settings: dict[str, Any], folder: Path) -> list[str]:
        level, library = self.settings["level"], Path(self.settings["library"])
        files = {name: Path(path) for name, path in self.settings["files"].items()}
        if level == "container":
            path = folder / containers.SOCKET
            descriptors = [one.fileno() for one in self.listeners]
            self.descriptor_socket = containers.DescriptorSocket(path, kernel_settings, descriptors)
            files[containers.SOCKET] = path
            source = str(library / containers.SOCKET)
        else:
            self.settings_pipe = _pipe(kernel_settings)
            source = str(self.settings_pipe)
        command = [sys.executable, "-P", str(library / LAUNCHER), source]
        limits = sandbox.Limits(**self.settings["limits"])
        return sandbox.wrap(level, command, files, limits, self.settings["name"])

    def _passed_descriptors(self) -> tuple[int, ...]:
        if self.settings_pipe is None:
            return ()
        return (*(one.fileno() for one in self.listeners), self.settings_pipe)

    def _environment(self) -> dict[str, str]:
        level = self.settings["level"]
        if level == "container":
            return dict(self.settings["engine"])
        if level == "bwrap":
            return {"PATH": "/usr/bin:/bin:/usr/local/bin"}
        return sandbox.environment(self.settings["home"], self.settings["library"])


def read_settings() -> dict[str, Any]:
    """The settings that ``nbval_run`` wrote for this submission; ``COURSE_SANDBOX`` has the path."""
    return json.loads(settings_file().read_text(encoding="utf-8"))


def settings_file() -> Path:
    """The settings file of this submission; other files of its run lie beside it."""
    return Path(os.environ["COURSE_SANDBOX"])


def register() -> None:
    """Register the provisioner with jupyter_client in this process; it has no installed entry point."""
    entry = EntryPoint(NAME, f"{__name__}:{SandboxProvisioner.__name__}", KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.instance().provisioners[NAME] = entry


def kernelspec() -> dict[str, Any]:
    """The content of ``kernel.json``; the command is replaced at launch."""
    return {
        "argv": [sys.executable, LAUNCHER, "{connection_file}"],
        "display_name": "Sandboxed Python",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"kernel_provisioner": {"provisioner_name": NAME}},
    }


def _pipe(content: dict[str, Any]) -> int:
    """A file descriptor to read ``content`` from; unlike an argument, it is not visible in the process list."""
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as file:
        json.dump(content, file)
    return reader


def _listen(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.bind(path)
    one.listen(16)
    return one
