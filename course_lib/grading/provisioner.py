"""A kernel provisioner that starts the kernel in the sandbox, so that ``pytest --nbval`` needs no change.

The listening sockets are opened out here and handed over as file descriptors: the kernel speaks over them although
it sees neither the network nor the folder where they are, and it can write nowhere outside its room.
"""

from __future__ import annotations

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

from course_lib.grading import cgroups, containers, sandbox

NAME = "course-sandbox"
CHANNELS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
LAUNCHER = "sandbox_kernel.py"
MESSAGE_BYTES = 1024 * 1024
QUEUED_MESSAGES = 64


class SandboxProvisioner(LocalProvisioner):
    """Runs the kernel at the sandbox level that the settings file of the submission names."""

    settings: dict[str, Any]
    listeners: list[socket.socket]
    letter: int | None = None
    door: containers.Door | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose the ipc transport in a private folder, open the sockets, and write the real command."""
        self.settings = read_settings()
        manager: Any = self.parent
        folder = Path(os.environ["COURSE_SANDBOX"]).parent / "sockets"
        folder.mkdir(mode=0o700)
        manager.transport, manager.ip = "ipc", str(folder / "k")
        for channel, number in CHANNELS.items():
            setattr(manager, channel, number)
        manager.context.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
        manager.context.setsockopt(zmq.RCVHWM, QUEUED_MESSAGES)
        kwargs = await super().pre_launch(**kwargs)
        self.listeners = [_listen(f"{manager.ip}-{number}") for number in CHANNELS.values()]
        kwargs["cmd"] = self._command(self._letter(manager), folder)
        kwargs["pass_fds"] = self._passed()
        kwargs["env"] = self._environment()
        kwargs["cwd"] = "/"
        kwargs["stdout"] = kwargs["stderr"] = subprocess.DEVNULL  # a file of ours could be filled through them
        kwargs["preexec_fn"] = cgroups.entrance(self.settings["cgroup"])
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start it, and close our copies of what was handed over."""
        connection = await super().launch_kernel(cmd, **kwargs)
        for one in self.listeners:
            one.close()
        if self.letter is not None:
            os.close(self.letter)
        return connection

    def _letter(self, manager: Any) -> dict[str, Any]:
        """What the kernel is told; descriptors are numbers that it inherits, or the order in which it gets them."""
        level, home = self.settings["level"], self.settings["home"]
        connection = manager.get_connection_info(session=False)
        connection |= {"key": connection["key"].decode(), "ip": f"{home}/k"}
        rlimits = sandbox.Limits(**self.settings["limits"]).rlimits()
        if level != "bwrap":
            del rlimits["RLIMIT_NPROC"]  # it would count every process of the user, not only ours
        descriptors = [one.fileno() for one in self.listeners]
        numbers = range(len(descriptors)) if level == "container" else descriptors
        return {
            "connection": connection, "descriptors": dict(zip(CHANNELS.values(), numbers, strict=True)),
            "limits": rlimits, "home": home,
        }  # fmt: skip

    def _command(self, letter: dict[str, Any], folder: Path) -> list[str]:
        level, library = self.settings["level"], Path(self.settings["library"])
        files = {name: Path(path) for name, path in self.settings["files"].items()}
        if level == "container":
            path = folder / containers.DOOR
            self.door = containers.Door(path, letter, [one.fileno() for one in self.listeners])
            files[containers.DOOR] = path
            place = str(library / containers.DOOR)
        else:
            self.letter = _pipe(letter)
            place = str(self.letter)
        command = [sys.executable, "-P", str(library / LAUNCHER), place]
        limits = sandbox.Limits(**self.settings["limits"])
        return sandbox.wrap(level, command, sandbox.Room(files), limits, self.settings["name"])

    def _passed(self) -> tuple[int, ...]:
        if self.letter is None:
            return ()
        return (*(one.fileno() for one in self.listeners), self.letter)

    def _environment(self) -> dict[str, str]:
        level = self.settings["level"]
        if level == "container":
            return dict(self.settings["engine"])
        if level == "bwrap":
            return {"PATH": "/usr/bin:/bin:/usr/local/bin"}
        return sandbox.environment(self.settings["home"], self.settings["library"])


def read_settings() -> dict[str, Any]:
    """What ``nbval_run`` wrote for this submission; the path stands in ``COURSE_SANDBOX``."""
    return json.loads(Path(os.environ["COURSE_SANDBOX"]).read_text(encoding="utf-8"))


def register() -> None:
    """Make the provisioner known to jupyter_client in this process, installed or not."""
    entry = EntryPoint(NAME, f"{__name__}:{SandboxProvisioner.__name__}", KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.instance().provisioners[NAME] = entry


def kernelspec() -> dict[str, Any]:
    """The content of ``kernel.json``; the command is written anew at launch."""
    return {
        "argv": [sys.executable, LAUNCHER, "{connection_file}"],
        "display_name": "Sandboxed Python",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"kernel_provisioner": {"provisioner_name": NAME}},
    }


def _pipe(content: dict[str, Any]) -> int:
    """A file descriptor to read ``content`` from; unlike an argument it shows in no process list."""
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as file:
        json.dump(content, file)
    return reader


def _listen(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.bind(path)
    one.listen(16)
    return one
