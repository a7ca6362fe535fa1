"""A kernel that cannot be reached ends its notebook and does not block the grader."""

from __future__ import annotations

import time

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
