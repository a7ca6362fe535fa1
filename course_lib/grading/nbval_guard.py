"""A pytest plugin that limits time and output while nbval runs a submission.

nbval waits without end while messages keep coming, keeps all output in memory, and notices a dead kernel only at the
timeout of the cell. This plugin stops the kernel at the limits and checks often whether it is alive.

The time during which the kernel waited for a processor is not counted, so that a right answer does not exceed its
limit on a busy machine; on systems that do not report it, wall-clock time is counted. The processor time of all
processes of the submission is counted instead where it is more: a kernel that waits for its own children gains nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty
from typing import Any

import psutil
import pytest
import zmq
from jupyter_client.blocking import BlockingKernelClient
from nbval.kernel import RunningKernel

from course_lib.grading import cgroups, provisioner, sandbox
from course_lib.grading.outcome import KERNEL_ENDED, Stop, StopReason

GRACE_SECONDS = 3.0
POLL_SECONDS = 0.25
STRETCH = 10  # wall-clock time is never more than this many times the counted time
PROCESS_MEMORY = 4 * 1024 * sandbox.MEGABYTE
METER = pytest.StashKey["Meter"]()


class LimitExceeded(RuntimeError):
    """The kernel was stopped; ``stop`` says why, and the cell report takes it from there."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.text)
        self.stop = stop


def pytest_configure(config: pytest.Config) -> None:
    """Limit the memory of this process, register the provisioner, and wrap nbval's kernel class."""
    settings = provisioner.read_settings()
    provisioner.register()
    _limit_own_memory()
    BlockingKernelClient.wait_for_ready = wait_for_ready
    config.stash[METER] = guard(RunningKernel, sandbox.Limits(**settings["limits"]), settings["cgroup"])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the counted seconds beside the settings of the submission."""
    if (meter := config.stash.get(METER, None)) is not None:
        provisioner.settings_file().with_name(provisioner.SECONDS).write_text(f"{meter.now():.3f}", encoding="ascii")


def wait_for_ready(client: Any, timeout: float) -> None:
    """Until the kernel replies. jupyter_client then waits 0.2 s for silence; nbval itself waits for the idle status.

    Raises:
        RuntimeError: if the kernel ends, or does not reply in ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        client.kernel_info()
        with contextlib.suppress(Empty):
            if client.get_shell_msg(timeout=1)["msg_type"] == "kernel_info_reply":
                return
        if not client.is_alive():
            raise RuntimeError("the kernel died before it replied")
        if time.monotonic() > end:
            raise RuntimeError(f"the kernel did not reply in {timeout:g} seconds")


def guard(kernel_class: Any, limits: sandbox.Limits, groups: Sequence[str] = ()) -> Meter:
    """Wrap the methods through which nbval sends code, receives messages, interrupts the kernel and ends it.

    Args:
        groups: control groups that all processes of the submission are in.
    """
    meter = Meter(limits, groups)
    send, receive, halt = kernel_class.execute_cell_input, kernel_class.get_message, kernel_class.interrupt

    def execute_cell_input(self: Any, cell_input: str, allow_stdin: Any = None) -> Any:
        meter.start_cell(self)
        with _send_timeout(self, self.kc.shell_channel.socket):
            return send(self, cell_input, allow_stdin)

    def get_message(self: Any, stream: str, timeout: float | None = None) -> Any:
        end = meter.now() + (timeout if timeout is not None else limits.question_seconds)
        while True:
            message = _poll(self, receive, stream)
            if message is None and meter.now() > end:
                raise Empty
            if (exceeded := meter.check(message)) is not None:
                self.stop()
                raise LimitExceeded(exceeded)
            if message is not None:
                return message

    def interrupt(self: Any) -> None:
        self.km._connect_control_socket()
        with _send_timeout(self, self.km._control_socket):
            halt(self)

    kernel_class.execute_cell_input = execute_cell_input
    kernel_class.interrupt = interrupt
    kernel_class.get_message = get_message
    kernel_class.stop = stop
    return meter


def _poll(kernel: Any, receive: Callable[..., Any], stream: str) -> Any:
    """The next message within ``POLL_SECONDS``, or None.

    Raises:
        LimitExceeded: if the kernel has ended.
    """
    try:
        return receive(kernel, stream, timeout=POLL_SECONDS)
    except Empty:
        if not kernel.is_alive():
            raise LimitExceeded(KERNEL_ENDED) from None
        return None


@contextlib.contextmanager
def _send_timeout(kernel: Any, socket: zmq.Socket) -> Iterator[None]:
    """Limit how long the body may wait to send over ``socket``: a kernel that accepts no connection would block it."""
    socket.setsockopt(zmq.SNDTIMEO, int(1000 * GRACE_SECONDS))
    try:
        yield
    except zmq.Again:
        kernel.stop()
        raise LimitExceeded(Stop(StopReason.KERNEL_UNREACHABLE, "the kernel does not listen")) from None


def stop(kernel: Any) -> None:
    """Kill the kernel and its process group. nbval's own method asks it first and then waits for its sockets."""
    process = kernel.km.provisioner.process
    if process is None:
        return
    if hasattr(os, "killpg") and isinstance(process, subprocess.Popen):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


class Meter:
    """Counts the time of the cell and of the notebook, and the output of the notebook."""

    def __init__(self, limits: sandbox.Limits, groups: Sequence[str] = ()) -> None:
        self.limits, self.groups = limits, groups
        self.output = 0
        self.process: int | None = None
        self.cell_end = float("inf")
        self.counted = self.used = 0.0
        self.used_at = float("-inf")
        self.before = self._clocks()
        self.parent = os.getppid()

    def now(self) -> float:
        """Counted seconds: without waiting for a processor, or processor time of all processes if that is more.

        At least a tenth of wall-clock time is counted.
        """
        clocks = self._clocks()
        passed, waited, used = (new - old for new, old in zip(clocks, self.before, strict=True))
        self.counted += max(passed - waited, used, passed / STRETCH)
        self.before = clocks
        return self.counted

    def start_cell(self, kernel: Any) -> None:
        """A new cell has its own time; the first one says which process the kernel is."""
        if self.process is None:
            self.now()
            self.process = kernel_process(kernel.km.provisioner.pid)
            self.before = self._clocks()
        self.cell_end = self.now() + self.limits.question_seconds + GRACE_SECONDS

    def _clocks(self) -> tuple[float, float, float]:
        """Wall-clock seconds, seconds that the kernel waited for a processor, processor seconds of all processes."""
        return time.monotonic(), waiting_seconds(self.process or os.getpid()), self._used()

    def _used(self) -> float:
        used = cgroups.processor_seconds(self.groups)
        if used is not None or self.process is None:
            return used or 0.0
        if time.monotonic() > self.used_at + POLL_SECONDS:  # it takes milliseconds
            self.used, self.used_at = processor_seconds(self.process), time.monotonic()
        return self.used

    def check(self, message: Any) -> Stop | None:
        """Count a message; the limit that is exceeded, if there is one."""
        limits = self.limits
        if os.getppid() != self.parent:
            return Stop(StopReason.GRADER_GONE, "the grader is gone")
        if message is not None:
            self.output += len(repr(message["content"]))
        if self.output > limits.output_kb * 1024:
            return Stop(StopReason.OUTPUT, f"more than {limits.output_kb} kB of output")
        if self.now() > self.cell_end:
            return Stop(StopReason.TIME, f"it took too long, more than {limits.question_seconds:g} seconds")
        if self.now() > limits.notebook_seconds:
            return Stop(StopReason.TIME, f"the notebook took longer than {limits.notebook_seconds:g} seconds")
        return None


def kernel_process(pid: int) -> int:
    """Process id of the kernel itself, below the programs that prepared its sandbox."""
    process = psutil.Process(pid)
    while process.name() in ("bwrap", "setpriv") and (children := process.children()):
        process = children[0]
    return process.pid


def processor_seconds(pid: int) -> float:
    """Processor time of a kernel and of what it started, without control groups: what has ended unnoticed is missing.

    Orphans belong to the first process of the kernel's namespaces, which is its parent.
    """
    total = 0.0
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid).parent() or psutil.Process(pid)
        root = first if first.pid != os.getpid() else psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
    return total


def waiting_seconds(pid: int) -> float:
    """Seconds that a process was ready to run but had no processor; 0 where the system does not report it."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _limit_own_memory() -> None:
    """Lower the soft limit only: the kernel is started from this process and gets limits of its own."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounded = PROCESS_MEMORY if hard == resource.RLIM_INFINITY else min(PROCESS_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bounded, hard))
