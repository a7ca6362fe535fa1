"""What counts as time; a kernel that cannot be reached ends its notebook and does not block the grader."""

from __future__ import annotations

import subprocess
import sys
import time
from queue import Empty

import pytest
import zmq

from course_lib.grading import nbval_guard, sandbox


class Unreachable:
    """A kernel whose sockets are not connected: sending over them waits."""

    def __init__(self):
        socket = zmq.Context.instance().socket(zmq.DEALER)  # never connected, so that it has nowhere to put a message
        socket.setsockopt(zmq.LINGER, 0)
        self.stopped = False
        self.km = type("Manager", (), {"_control_socket": socket, "_connect_control_socket": lambda self: None})()
        channel = type("Channel", (), {"socket": socket})
        self.km.provisioner = type("Provisioner", (), {"pid": 1})
        self.kc = type("Client", (), {"shell_channel": channel})

    def execute_cell_input(self, source, allow_stdin=None):
        return self.kc.shell_channel.socket.send(b"execute")

    def interrupt(self):
        self.km._control_socket.send(b"interrupt")

    def get_message(self, stream, timeout=None):
        raise AssertionError("nothing was sent")

    def stop(self):
        raise AssertionError("stopped by nbval's method, which asks the kernel first")


@pytest.mark.parametrize("act", [lambda kernel: kernel.interrupt(), lambda kernel: kernel.execute_cell_input("1")])
def test_a_kernel_that_does_not_listen_is_stopped_in_time(act, monkeypatch):
    kernel_class = type("Kernel", (Unreachable,), {})
    monkeypatch.setattr(nbval_guard, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(nbval_guard, "stop", lambda kernel: setattr(kernel, "stopped", True))
    nbval_guard.guard(kernel_class, sandbox.Limits())
    kernel, begin = kernel_class(), time.monotonic()
    with pytest.raises(nbval_guard.LimitExceeded, match="does not listen"):
        act(kernel)
    assert kernel.stopped
    assert time.monotonic() - begin < 5


class TestMeter:
    """What counts as time of a submission."""

    @pytest.fixture
    def meter(self, monkeypatch):
        self.clocks = (0.0, 0.0, 0.0)  # wall-clock, waiting for a processor, processor time of all processes
        monkeypatch.setattr(nbval_guard.Meter, "_clocks", lambda _: self.clocks)
        return nbval_guard.Meter(sandbox.Limits())

    @pytest.mark.parametrize(
        ("clocks", "counted"),
        [((10, 0, 1), 10), ((10, 8, 1), 2), ((10, 8, 9), 9), ((10, 0, 20), 20), ((100, 100, 0), 10)],
        ids=["sleeping", "waiting", "waiting for its children", "two processors", "waiting only"],
    )
    def test_it_counts(self, meter, clocks, counted):
        self.clocks = clocks
        assert meter.now() == counted

    def test_each_part_is_counted_as_what_it_was(self, meter):
        """Sleeping first does not pay for spinning afterwards."""
        self.clocks = (10.0, 0.0, 0.0)
        meter.now()
        self.clocks = (20.0, 10.0, 10.0)
        assert meter.now() == 20


def test_processes_are_counted_without_control_groups_with_those_that_ended():
    code = "import subprocess, sys, time\nspin = 'import time\\nwhile time.process_time() < 0.5: pass'\n"
    code += "subprocess.run([sys.executable, '-c', spin])\nprint(flush=True)\ntime.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert nbval_guard.processor_seconds(process.pid) > 0.4
    finally:
        process.kill()
        process.wait()
    assert nbval_guard.processor_seconds(process.pid) == 0.0


class Starting:
    """A client whose kernel replies after some waits, or ends."""

    def __init__(self, waits: int, *, lives: bool) -> None:
        self.waits, self.lives, self.asked = waits, lives, 0

    def kernel_info(self) -> None:
        self.asked += 1

    def get_shell_msg(self, timeout: float) -> dict[str, str]:
        if self.asked <= self.waits:
            raise Empty
        return {"msg_type": "kernel_info_reply"}

    def is_alive(self) -> bool:
        return self.lives


def test_a_kernel_is_ready_at_its_first_reply():
    client = Starting(3, lives=True)
    nbval_guard.wait_for_ready(client, 60)
    assert client.asked == 4


@pytest.mark.parametrize(("lives", "seconds", "message"), [(False, 60, "died"), (True, 0, "in 0 seconds")])
def test_a_kernel_that_never_replies_is_an_error(lives, seconds, message):
    with pytest.raises(RuntimeError, match=message):
        nbval_guard.wait_for_ready(Starting(10_000, lives=lives), seconds)
