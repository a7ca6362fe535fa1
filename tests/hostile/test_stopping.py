"""A kernel that ends or hangs, or kills the processes around it, costs its question and nothing else."""

import pytest

from tests.hostile.conftest import SHORT, WRONG

STOPS = {
    "sys.exit": "import sys\nsys.exit(0)",
    "quit": "quit()",
    "os._exit": "import os\nos._exit(0)",
    "a shutdown message": "get_ipython().kernel.do_shutdown(False)\nget_ipython().kernel.stop()",
    "the application is stopped": "from ipykernel.kernelapp import IPKernelApp\nIPKernelApp.instance().close()",
    "its parent is killed": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "all processes are killed": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "the first process is killed": "import os, signal\nos.kill(1, signal.SIGKILL)",
    "a segmentation fault": "import ctypes\nctypes.string_at(0)",
    "the sockets are closed": "import os\nos.closerange(3, 300)",
}
HANGS = {
    "an endless loop": "while True: pass",
    "an endless loop that ignores the interrupt": """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        while True: pass
    except BaseException:
        pass
""",
    "a long sleep": "import time\ntime.sleep(10_000)",
    "input": "input('what is the answer?')",
}
IN_THE_PROBE = "import os\ndef dense_bytes(shapes, dtype):\n    os._exit(0)\n"
AT_EXIT = "import atexit, threading, time\natexit.register(time.sleep, 10_000)\n" + (
    "threading.Thread(target=time.sleep, args=(10_000,)).start()\n"
)


@pytest.mark.parametrize("name", STOPS)
def test_a_kernel_that_ends_earns_nothing_and_costs_nothing_else(grader, name):
    assert not grader.attack(STOPS[name] + WRONG).passed


@pytest.mark.parametrize("name", HANGS)
def test_an_answer_that_does_not_end_is_stopped(grader, name):
    assert not grader.attack(HANGS[name] + WRONG, SHORT).passed


def test_an_answer_that_ends_the_kernel_when_it_is_probed_earns_nothing(grader):
    assert grader.attack(IN_THE_PROBE).status == "stopped"


def test_a_kernel_that_hangs_at_its_exit_does_not_block_the_run(grader):
    assert not grader.attack(AT_EXIT + WRONG).passed
