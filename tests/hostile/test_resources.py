"""An answer that uses too much of a resource costs only its own question."""

import textwrap
from dataclasses import replace

import pytest

from course_lib.grading import cgroups, sandbox
from tests.hostile.conftest import BYSTANDER, LIMITS, SHORT, TARGET, WRONG

GREEDY = {
    "an endless calculation": "def f():\n    x = 1\n    while True: x = x * 3 % 1_000_003\nf()",
    "one huge allocation": "huge = bytearray(10**12)",
    "memory until there is none": "pile = []\nwhile True: pile.append(bytearray(8_000_000))",
    "memory of many processes": """
import os
for _ in range(30):
    if os.fork() == 0:
        pile = []
        while True:
            try: pile.append(b"x" * 4_000_000)
            except MemoryError: pass
""",
    "a fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "a thread bomb": """
import threading, time
while True:
    try: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    except RuntimeError: pass
""",
    "a full disk": """
import itertools, os
for number in itertools.count():
    with open(f"/tmp/{number}", "wb") as file:
        for _ in range(64): file.write(bytes(1_000_000))
""",
    "a million small files": "import itertools\nfor n in itertools.count(): open(f'/tmp/{n}', 'w').close()",
    "shared memory": "import itertools\nfor n in itertools.count(): open(f'/dev/shm/{n}', 'wb').write(bytes(10**7))",
    "file descriptors": "files = []\nwhile True: files.append(open('/dev/null'))",
    "a gigabyte of output": "while True: print('x' * 1_000_000)",
    "one huge message": "print('x' * 300_000_000)",
    "a flood of small messages": "import sys\nwhile True: print('x'); sys.stdout.flush()",
    "raw output": "import os\nwhile True: os.write(1, b'x' * 1_000_000)",
    "endless display updates": """
from IPython.display import display
handle = display('0', display_id=True)
while True: handle.update('x' * 1000)
""",
    "endless clearing of the output": "from IPython.display import clear_output\nwhile True: clear_output()",
    "a huge repr": "class Huge:\n    def __repr__(self): return 'x' * 10**9\ndisplay(Huge())",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nf(0)",
    "a deeply nested message": """
nested = []
for _ in range(100_000): nested = [nested]
kernel = get_ipython().kernel
kernel.session.check_pid = False
kernel.session.send(kernel.iopub_socket, "display_data", {"data": nested, "metadata": {}}, parent=kernel.get_parent())
""",
    "a huge number": "print(10 ** 10**7 % 7, 7 ** 10**8)",
    "compressed text": "import zlib\ntext = zlib.decompress(zlib.compress(bytes(10**8)) * 1)\npile = [text * 100]",
}
SPINNERS = """
import os
for _ in range(40):
    if os.fork() == 0:
        while True: pass
os.nice(19)
while True: pass
"""
IN_THE_PROBE = {
    "a huge result": "def dense_bytes(shapes, dtype):\n    return 10 ** 10 ** 6",
    "an endless result": "def dense_bytes(shapes, dtype):\n    me = []\n    me.append(me)\n    return me",
    "an endless iterator": "import itertools\ndef dense_bytes(shapes, dtype):\n    return itertools.count()",
    "much output": "def dense_bytes(shapes, dtype):\n    while True: print('x' * 1000)",
}


@pytest.mark.parametrize("name", GREEDY)
def test_an_answer_that_takes_too_much_earns_nothing(grader, name):
    assert not grader.attack(GREEDY[name] + WRONG, SHORT).passed


@pytest.mark.parametrize("name", IN_THE_PROBE)
def test_a_function_that_takes_too_much_when_it_is_called_earns_nothing(grader, name):
    assert not grader.attack(IN_THE_PROBE[name] + "\n", SHORT).passed


def test_the_processor_time_of_all_processes_counts(grader, monkeypatch):
    """Forty processes and a low priority do not stretch the limit, which is not a matter of how busy the machine is."""
    used, remove = [], cgroups._remove

    def look_and_remove(folders, *arguments):
        used.append(cgroups.processor_seconds([str(folder) for folder in folders]))
        remove(folders, *arguments)

    monkeypatch.setattr(cgroups, "_remove", look_and_remove)
    verdict = grader.attack(SPINNERS + WRONG, SHORT)
    assert verdict.status == "stopped" and verdict.stop_reason == "time"
    measured = [seconds for seconds in used if seconds is not None]
    assert bool(measured) == (cgroups.version() != "none")
    assert all(seconds < 3 * SHORT.question_seconds for seconds in measured), measured


def test_all_runs_of_a_submission_are_bounded_together(grader):
    slow = "import time\ntime.sleep(4)\n"
    answers = {id: slow + grader.right(id) for id in (TARGET, BYSTANDER)}
    limits = replace(SHORT, submission_seconds=5)
    verdicts = grader.decide(answers, limits)
    assert "stopped" in {verdict.status for verdict in verdicts.values()}
    assert any("longer than 5 seconds" in verdict.details for verdict in verdicts.values()), verdicts


def test_limits_are_hard(grader):
    source = f"""
        import resource
        for name, value in {LIMITS.rlimits()!r}.items():
            soft, hard = resource.getrlimit(getattr(resource, name))
            assert 0 <= soft <= hard <= value, (name, soft, hard)
            try:
                resource.setrlimit(getattr(resource, name), (value + 1, value + 1))
            except (ValueError, OSError):
                continue
            assert False, name + " could be raised"
    """
    assert grader.attack(textwrap.dedent(source) + grader.right("01.1")).passed


@pytest.mark.parametrize("name", ["question_seconds", "memory_mb", "processes", "output_kb"])
def test_a_limit_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be greater than 0, got 0"):
        sandbox.Limits(**{name: 0})
