"""The template process, its memory, descriptors and signals, and what an earlier submission left, are out of reach."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_lib.grading import nbval_run, sandbox, templates
from tests.hostile.conftest import LIMITS, WRONG

FACTS = """
import json, os, resource, socket, sys
with open("/proc/self/status") as file:
    status = dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
with open("/proc/self/mountinfo") as file:
    mounts = [line.split() for line in file]
kept = "Groups NoNewPrivs Seccomp CapInh CapPrm CapEff CapBnd CapAmb SigIgn SigBlk Umask".split()
own = ("/course/kernel_template.py", "/course/isolation.py", "/proc/sys")
connection = socket.create_server(("127.0.0.1", 0))
socket.create_connection(connection.getsockname(), 5)
facts = {
    "status": {name: status.get(name) for name in kept},
    "one user": len(set(os.getresuid() + os.getresgid())) == 1,
    "mounts": sorted({(line[4], line[5], line[line.index("-") + 1]) for line in mounts
                      if line[4] not in own and not line[4].startswith("/tmp/")}),
    "processes": [name for name in os.listdir("/proc") if name.isdigit()],
    "folders": {name: sorted(os.listdir(name)) for name in ("/", "/dev", "/dev/pts", "/dev/shm", "/tmp", "/etc")},
    "environment": dict(os.environ), "folder": os.getcwd(), "host": socket.gethostname(), "path": sys.path,
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
    "groups": open("/proc/self/cgroup").read(), "nice": os.nice(0), "oom": open("/proc/self/oom_score_adj").read(),
    "interfaces": sorted(line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line),
    "descriptors": sorted({os.readlink(f"/proc/self/fd/{name}").split(":")[0] for name in os.listdir("/proc/self/fd")
                           if os.path.lexists(f"/proc/self/fd/{name}")}),
}
print(json.dumps({"forked": "isolation" in sys.modules, **facts}))
"""
OUT_OF_REACH = {
    "memory": """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
        assert others == [1]
        for name in ("mem", "maps", "environ", "fd", "cwd", "root", "exe", "ns/mnt", "map_files", "auxv", "stack"):
            try:
                path = f"/proc/1/{name}"
                os.readlink(path) if name in ("cwd", "root", "exe", "ns/mnt") else os.listdir(path)
            except NotADirectoryError:
                try:
                    assert not open(path, "rb").read(1), name
                except OSError:
                    pass
            except OSError:
                pass
            else:
                raise AssertionError(name)
        class Part(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
        space = ctypes.create_string_buffer(8)
        mine, theirs = Part(ctypes.addressof(space), 8), Part(id(libc), 8)
        for call in (libc.process_vm_readv, libc.process_vm_writev):
            assert call(1, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0) == -1
    """,
    "tracing": """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for request in (16, 0x4206):  # attach, seize
            for pid in range(1, 400):
                assert libc.ptrace(request, pid, 0, 0) == -1
        assert libc.syscall(434, 1, 0) == -1 or libc.syscall(438, libc.syscall(434, 1, 0), 0, 0) == -1  # pidfd_getfd
    """,
    "shared memory": """
        lines = [line.split() for line in open("/proc/self/maps")]
        assert not [line for line in lines if line[1][1] == "w" and line[1][3] == "s"]
    """,
    "descriptors": """
        import os, socket, stat
        for name in os.listdir("/proc/self/fd"):
            if not os.path.lexists(f"/proc/self/fd/{name}"):
                continue
            number = int(name)
            kind = os.fstat(number).st_mode
            assert not stat.S_ISREG(kind) and not stat.S_ISDIR(kind) and not stat.S_ISBLK(kind), name
            if stat.S_ISSOCK(kind):
                with socket.socket(fileno=os.dup(number)) as one:
                    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
                    assert not str(one.getsockname()).startswith("course-template")
        assert "course-template" not in open("/proc/net/unix").read()
    """,
    "rights": """
        import ctypes, os
        import isolation, kernel_template
        for act in (isolation.unshare, lambda: isolation.seal(1), lambda: isolation.drop_rights(0),
                    lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chroot("/tmp")):
            try:
                act()
            except OSError:
                continue
            raise AssertionError(act)
        if (pid := os.fork()) == 0:  # one thread: a user namespace would be the way to new rights
            code = 1
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.unshare(0x10000000) or libc.umount2(b"/tmp", 2) and libc.umount2(b"/proc", 2):
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """,
}  # fmt: skip
STRIKES = {
    "signals": """
        import os, signal
        for pid in (1, os.getppid(), 0, -1, *range(3, 100)):
            for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
                try:
                    if pid not in (0, os.getpid()):
                        os.kill(pid, number)
                except OSError:
                    pass
    """,
    "the frames above": """
        import os, sys
        os._exit = lambda *arguments: None
        import kernel_template
        kernel_template._forked = lambda job, *arguments: job(*arguments)
        kernel_template.isolation.drop_rights = kernel_template.isolation.require_isolated = lambda *arguments: None
        frame = sys._getframe()
        while frame is not None:
            frame.f_locals.clear() if frame.f_code.co_name in ("serve", "supervise", "begin", "run") else None
            frame = frame.f_back
        get_ipython().kernel.stop()
        raise SystemExit(0)
    """,
    "modules": """
        import isolation, kernel_template, sandbox_kernel, sys, torch
        isolation.drop_rights = isolation.seal = isolation.unshare = lambda *arguments: None
        kernel_template.run = kernel_template.serve = sandbox_kernel.start = sandbox_kernel.apply_limits = None
        torch.nn.Linear = torch.nn.Conv2d = None
        sys.modules["isolation"] = sys.modules["sandbox_kernel"] = sys
    """,
    "gigabytes": "pile = [bytes(1_000_000) * 1 for _ in range(10_000)]",
}
LEAVE = """
    import ctypes, os, socket
    libc = ctypes.CDLL(None, use_errno=True)
    keyctl, add_key = {"x86_64": (250, 248), "aarch64": (219, 217)}[os.uname().machine]
    for ring in (-3, -4, -5):
        libc.syscall(add_key, b"user", b"course-left", b"x", 1, ring)
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/course", os.environ["HOME"], "/run"):
        try:
            open(folder + "/course-left", "w").close()
        except OSError:
            pass
    libc.shmget(4711, 4096, 0o1666)
    libc.msgget(4712, 0o1666)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\\0course-left")
    import math, random, torch
    math.course_left = torch.course_left = 1
    if os.fork() == 0:
        os.setsid()
        import time
        time.sleep(10_000)
"""
FIND = """
    import ctypes, math, os, torch
    libc = ctypes.CDLL(None, use_errno=True)
    keyctl, request_key = {"x86_64": (250, 249), "aarch64": (219, 218)}[os.uname().machine]
    for ring in (-3, -4, -5):
        assert libc.syscall(keyctl, 10, ring, b"user", b"course-left", 0) == -1, ring
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/course", os.environ["HOME"], "/run"):
        assert not os.path.exists(folder + "/course-left")
    assert libc.shmget(4711, 4096, 0) == -1 and libc.msgget(4712, 0) == -1
    assert "course-left" not in open("/proc/net/unix").read()
    assert not hasattr(math, "course_left") and not hasattr(torch, "course_left")
    assert sorted(name for name in os.listdir("/proc") if name.isdigit()) == ["1", str(os.getpid())]
"""


def template():
    """The template that was used last; it runs."""
    found = next(reversed(templates._templates.kept.values()))
    assert found.problem is None and found.is_alive()
    return found


def inside():
    """All processes in the sandbox of the template: without a kernel, the template alone."""
    below = psutil.Process(template().process.pid).children(recursive=True)
    return [one for one in below if one.name() != "bwrap"]


def facts(grader, source=FACTS):
    cell = new_code_cell(source, id="facts", execution_count=1, outputs=[new_output("stream", text="")])
    first = new_code_cell("import probe_runtime\nprobe_runtime.prepare()", id="start")
    report = nbval_run.run(new_notebook(cells=[first, cell]), grader.files, level="bwrap", limits=LIMITS).cells["facts"]
    return json.loads(report.output)


def test_a_forked_kernel_sees_and_may_do_what_a_started_one_does(grader, monkeypatch):
    forked = facts(grader)
    monkeypatch.setattr(templates, "available", lambda: False)
    started = facts(grader)
    assert forked.pop("forked") and not started.pop("forked")
    assert forked == started


@pytest.mark.parametrize("what", OUT_OF_REACH)
def test_out_of_reach(grader, what):
    verdict = grader.attack(textwrap.dedent(OUT_OF_REACH[what]) + grader.right("01.1"))
    assert verdict.passed, verdict


@pytest.mark.parametrize("strike", STRIKES)
def test_the_template_outlives(grader, strike):
    grader.attack(WRONG)
    before = template().process.pid
    assert not grader.attack(textwrap.dedent(STRIKES[strike]) + WRONG).passed
    assert template().process.pid == before
    assert grader.attack(grader.right("01.1")).passed


def test_nothing_is_left_by_an_earlier_submission(grader):
    assert not grader.attack(LEAVE + WRONG).passed
    verdict = grader.attack(textwrap.dedent(FIND) + grader.right("01.1"))
    assert verdict.passed, verdict


def test_what_is_looked_for_would_be_found(grader):
    """The same program leaves traces that it finds itself, in one kernel."""
    source = textwrap.dedent(LEAVE) + textwrap.dedent(FIND)
    assert not grader.attack(source + grader.right("01.1")).passed


def test_two_kernels_draw_different_random_numbers(grader):
    source = (
        "import json, random, numpy, uuid\nprint(json.dumps([random.random(), numpy.random.rand(), str(uuid.uuid4())]))"
    )
    first, second = facts(grader, source), facts(grader, source)
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_no_kernel_or_process_of_it_remains(grader):
    grader.attack(WRONG)
    deadline = time.monotonic() + 60
    while len(inside()) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_template_runs_in_the_sandbox_without_a_thread_or_a_secret(grader, monkeypatch):
    monkeypatch.setenv("COURSE_GRADING_SECRET", "the secret of these tests")
    grader.attack(WRONG)
    process = inside()[0]
    assert process.num_threads() == 1
    assert os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert set(process.environ()) <= {*sandbox.environment(), "PWD"}
    names = [os.readlink(f"/proc/{process.pid}/fd/{name}") for name in os.listdir(f"/proc/{process.pid}/fd")]
    assert sum(name.startswith("socket:") for name in names) == 1, names
    assert all(name.startswith(("socket:", "pipe:", "/dev/null")) for name in names), names


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_gets_no_kernel(grader):
    grader.attack(WRONG)
    code = f"""
import socket
one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
one.settimeout(30)
one.connect({template().address!r})
try:
    one.send(b"{{}}")
    print(one.recv(100))
except OSError:
    print(b"")
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
        own.settimeout(30)
        own.connect(template().address)
        own.send(b"{}")  # the grader's own user is heard: the child ends at the malformed request
        assert own.recv(100) in (b"", b"supervisor")
    assert _as_another_user(code) == "b''"
    assert grader.attack(grader.right("01.1")).passed


def _as_another_user(code):
    """Output of ``code`` in a forked child of another user: its Python may lie where that user cannot read."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.dup2(writer, 1)
            exec(code, {"print": lambda text: os.write(1, str(text).encode())})
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, encoding="utf-8") as file:
        return file.read()


def test_a_template_that_was_killed_is_started_again(grader):
    grader.attack(WRONG)
    killed = template().process
    killed.kill()
    killed.wait()
    assert grader.attack(grader.right("01.1")).passed
    assert template().process.pid != killed.pid


def test_where_it_cannot_fork_a_kernel_is_started_as_before(grader, monkeypatch):
    monkeypatch.setattr(templates, "address", lambda *_: "\0course-template-nobody")
    assert not facts(grader)["forked"]
    assert grader.attack(grader.right("01.1")).passed


def test_it_ends_with_the_grader(grader, tmp_path):
    grader.attack(WRONG)
    files = {name: str(path) for name, path in grader.files.items()}
    code = f"""
import pathlib, time
from nbformat.v4 import new_code_cell, new_notebook
from course_lib.grading import templates
files = {{name: pathlib.Path(path) for name, path in {files!r}.items()}}
assert templates.address(new_notebook(cells=[new_code_cell("import math", id="start")]), files)
(one,) = templates._templates.kept.values()
print(one.process.pid, flush=True)
time.sleep(600)
"""
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": os.getcwd()})  # fmt: skip
    processes = [psutil.Process(int(started.stdout.readline()))]
    processes += processes[0].children(recursive=True)
    assert len(processes) >= 2
    started.send_signal(signal.SIGKILL)
    started.wait()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
