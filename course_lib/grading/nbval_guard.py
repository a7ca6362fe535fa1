"""A pytest plugin for the trusted process that runs nbval on a submission: it bounds what nbval leaves unbounded.

nbval waits for ever while messages keep coming, keeps all output in memory, and notices a dead kernel only at the
timeout of the cell. This plugin stops the kernel when its time or output is used up, and asks often if it lives.

Time is counted without the time that the kernel waited for a processor, so that a busy machine does not turn a
right answer into a late one; on systems that do not tell it is the time of the clock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import psutil
import pytest
import zmq
from nbval.kernel import RunningKernel

from course_lib.grading import provisioner, sandbox

GRACE_SECONDS = 3.0
POLL_SECONDS = 0.25
STRETCH = 10
PROCESS_MEMORY = 4 * 1024 * sandbox.MEGABYTE


class LimitExceeded(RuntimeError):
    """The notebook used up its time or its output."""


def pytest_configure(config: pytest.Config) -> None:
    """Bound this process, register the provisioner, and put the guard between nbval and its kernel."""
    settings = provisioner.read_settings()
    provisioner.register()
    _limit_own_memory()
    guard(RunningKernel, sandbox.Limits(**settings["limits"]))


def guard(kernel_class: Any, limits: sandbox.Limits) -> None:
    """Wrap the methods through which nbval sends code, receives messages, interrupts the kernel and ends it."""
    meter = _Meter(limits)
    send, receive, ask = kernel_class.execute_cell_input, kernel_class.get_message, kernel_class.interrupt

    def execute_cell_input(self: Any, cell_input: str, allow_stdin: Any = None) -> Any:
        meter.start_cell(self)
        with _reaching(self, self.kc.shell_channel.socket):
            return send(self, cell_input, allow_stdin)

    def get_message(self: Any, stream: str, timeout: float | None = None) -> Any:
        end = meter.now() + (timeout if timeout is not None else limits.question_seconds)
        while True:
            message = _poll(self, receive, stream)
            if message is None and meter.now() > end:
                raise Empty
            if problem := meter.problem(message):
                self.stop()
                raise LimitExceeded(problem)
            if message is not None:
                return message

    def interrupt(self: Any) -> None:
        self.km._connect_control_socket()
        with _reaching(self, self.km._control_socket):
            ask(self)

    kernel_class.execute_cell_input = execute_cell_input
    kernel_class.interrupt = interrupt
    kernel_class.get_message = get_message
    kernel_class.stop = stop


def _poll(kernel: Any, receive: Callable[..., Any], stream: str) -> Any:
    """The next message that comes within a moment, or None; from a kernel that ended nothing will come."""
    try:
        return receive(kernel, stream, timeout=POLL_SECONDS)
    except Empty:
        if not kernel.is_alive():
            raise LimitExceeded("the kernel ended") from None
        return None


@contextlib.contextmanager
def _reaching(kernel: Any, socket: zmq.Socket) -> Iterator[None]:
    """Send over ``socket`` in the body; a kernel that takes no connection would let that wait for ever."""
    socket.setsockopt(zmq.SNDTIMEO, int(1000 * GRACE_SECONDS))
    try:
        yield
    except zmq.Again:
        kernel.stop()
        raise LimitExceeded("the kernel does not listen") from None


def stop(kernel: Any) -> None:
    """Kill the kernel and all that it started. nbval's own way asks it first, and then waits for its sockets."""
    process = kernel.km.provisioner.process
    if process is None:
        return
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


class _Meter:
    """Counts the time of the cell and of the notebook, and the output of the notebook."""

    def __init__(self, limits: sandbox.Limits) -> None:
        self.limits = limits
        self.output = 0
        self.process: int | None = None
        self.cell_end = float("inf")
        self.begin = time.monotonic()
        self.parent = os.getppid()

    def now(self) -> float:
        """Seconds since the beginning that kernel and grader could have used, at least a tenth of the clock's."""
        passed = time.monotonic() - self.begin
        waited = waiting_seconds(self.process) if self.process is not None else waiting_seconds(os.getpid())
        return max(passed - waited, passed / STRETCH)

    def start_cell(self, kernel: Any) -> None:
        if self.process is None:
            self.process = kernel_process(kernel.km.provisioner.pid)
        self.cell_end = self.now() + self.limits.question_seconds + GRACE_SECONDS

    def problem(self, message: Any) -> str | None:
        if os.getppid() != self.parent:
            return "the grader is gone"
        if message is not None:
            self.output += len(repr(message["content"]))
        if self.output > self.limits.output_kb * 1024:
            return f"more than {self.limits.output_kb} kB of output"
        if self.now() > self.cell_end:
            return f"longer than {self.limits.question_seconds:g} seconds"
        if self.now() > self.limits.notebook_seconds:
            return f"the notebook took longer than {self.limits.notebook_seconds:g} seconds"
        return None


def kernel_process(pid: int) -> int:
    """The process that became the kernel, below the one that made its room."""
    process = psutil.Process(pid)
    while process.name() in ("bwrap", "setpriv") and (below := process.children()):
        process = below[0]
    return process.pid


def waiting_seconds(pid: int) -> float:
    """How long a process was ready to run but had no processor; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _limit_own_memory() -> None:
    """A soft limit: the kernel, which gets limits of its own, is started from here."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounded = PROCESS_MEMORY if hard == resource.RLIM_INFINITY else min(PROCESS_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bounded, hard))
