"""Nothing outside the sandbox is changed, reached or signalled."""

import contextlib
import os
import signal
import site
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest

from course_lib.grading import building, sandbox
from tests.hostile.conftest import WRONG

MARK = "written-by-a-hostile-answer"
HOME, PACKAGES, ROOT = Path.home(), Path(site.getsitepackages()[0]), building.ROOT
PLACES = {
    "the home of the instructor": [HOME / MARK, HOME / ".bashrc"],
    "site-packages": [PACKAGES / f"{MARK}.pth", PACKAGES / "sitecustomize.py"],
    "start-up files of IPython": [HOME / ".ipython/profile_default/startup/00-hostile.py"],
    "kernelspecs": [
        Path(sys.prefix) / "share/jupyter/kernels/python3/kernel.json",
        HOME / ".local/share/jupyter/kernels/x/kernel.json",
    ],
    "the repository": [
        ROOT / "conftest.py", ROOT / "course_lib" / f"{MARK}.py", ROOT / "gradebook.db",
        ROOT / "course_lib" / "models" / "__init__.py", ROOT / "course_lib" / "grading" / "probe_runtime.py",
        next(building.SOLUTIONS.glob("01_*.ipynb")),
    ],
    "the system": [Path(folder) / MARK for folder in ("/etc", "/usr/lib", "/tmp", "/var/tmp", "/dev/shm")],
}  # fmt: skip
OVERWRITTEN = {"kernelspecs", "the repository"}  # places with files that exist
WRITE = """
import os
for path in {paths!r}:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a") as file:
            file.write("# {mark}")
    except OSError:
        pass
"""


@pytest.mark.parametrize("name", PLACES)
def test_nothing_is_written_to(grader, name):
    paths = PLACES[name]
    before = {path: path.read_bytes() if path.is_file() else None for path in paths}
    assert not grader.attack(WRITE.format(paths=[str(path) for path in paths], mark=MARK) + WRONG).passed
    assert {path: path.read_bytes() if path.is_file() else None for path in paths} == before


def library(grader):
    """The files that the sandbox shows in ``/course``, as the paths inside it."""
    return [Path(sandbox.LIBRARY) / name for name, path in grader.files.items() if path.is_file()]


def test_nothing_is_written_to_the_library_of_the_course(grader):
    before = {path: path.read_bytes() for path in grader.files.values() if path.is_file()}
    paths = [str(path) for path in (Path(sandbox.LIBRARY) / MARK, *library(grader))]
    assert not grader.attack(WRITE.format(paths=paths, mark=MARK) + WRONG).passed
    assert {path: path.read_bytes() for path in before} == before


def test_the_program_that_writes_would_write_without_a_sandbox(tmp_path):
    (tmp_path / "old").write_text("x")
    exec(WRITE.format(paths=[str(tmp_path / "new" / "file"), str(tmp_path / "old")], mark=MARK), {})
    assert (tmp_path / "new" / "file").read_text() == f"# {MARK}" and (tmp_path / "old").read_text() == f"x# {MARK}"


@pytest.mark.parametrize("kind", ["tcp", "udp", "dns", "a socket in the file system", "an abstract socket"])
def test_no_socket_outside_can_be_reached(grader, kind, tmp_path):
    heard = []
    with _listener(kind, tmp_path, heard) as source:
        verdict = grader.attack(textwrap.dedent(source) + WRONG)
    assert verdict.status == "wrong" and heard == []


def test_there_is_no_network(grader):
    source = """
        import socket
        assert [name for _, name in socket.if_nameindex()] == ["lo"], socket.if_nameindex()
        for name in ("localhost.example.org", "example.org"):
            try:
                socket.getaddrinfo(name, 80)
            except socket.gaierror:
                continue
            raise AssertionError("a name was resolved")
        for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
            try:
                socket.socket(family, kind)
            except OSError:
                continue
            raise AssertionError("a raw socket was opened")
    """
    assert grader.attack(textwrap.dedent(source) + grader.right("01.1")).passed


def test_the_listener_receives_without_a_sandbox(tmp_path):
    for kind in ("tcp", "udp", "a socket in the file system", "an abstract socket"):
        heard = []
        with _listener(kind, tmp_path, heard) as source:
            exec(textwrap.dedent(source), {})
            for _ in range(100):
                if heard:
                    break
                threading.Event().wait(0.05)
        assert heard, kind


class _listener:
    """A socket outside, and the code that tries to reach it from inside."""

    def __init__(self, kind, folder, heard):
        self.kind, self.heard = kind, heard
        self.path = str(folder / f"{kind[:4]}.sock")
        Path(self.path).unlink(missing_ok=True)

    def __enter__(self):
        family, style, address = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "dns": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "a socket in the file system": (socket.AF_UNIX, socket.SOCK_STREAM, self.path),
            "an abstract socket": (socket.AF_UNIX, socket.SOCK_STREAM, "\0course-hostile-test"),
        }[self.kind]
        self.socket = socket.socket(family, style)
        self.socket.bind(address)
        if style == socket.SOCK_STREAM:
            self.socket.listen(5)
        self.thread = threading.Thread(target=self._listen, args=(style,), daemon=True)
        self.thread.start()
        target = self.socket.getsockname()
        send = (
            "one.connect(target); one.sendall(b'hello')"
            if style == socket.SOCK_STREAM
            else "one.sendto(b'hello', target)"
        )
        if self.kind == "dns":
            send = "socket.getaddrinfo('example.org', 80)"
        return f"""
            import socket
            target = {target!r}
            try:
                one = socket.socket({int(family)}, {int(style)})
                {send}
            except OSError:
                pass
        """

    def _listen(self, style):
        try:
            if style == socket.SOCK_STREAM:
                connection, _ = self.socket.accept()
                self.heard.append(connection)
            elif heard := self.socket.recv(10):  # nothing is what a socket hears that is shut
                self.heard.append(heard)
        except OSError:
            pass

    def __exit__(self, *error):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # a thread that waits on a socket keeps its address taken
        self.socket.close()
        self.thread.join(1)


def test_no_process_outside_is_signalled_or_traced(grader):
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        source = f"""
            import ctypes, os, signal
            libc = ctypes.CDLL(None, use_errno=True)
            for pid in ({victim.pid}, {os.getpid()}, {os.getppid()}):
                libc.ptrace(16, pid, 0, 0)
                libc.process_vm_readv(pid, 0, 0, 0, 0, 0)
                for number in ({int(signal.SIGTERM)}, {int(signal.SIGKILL)}):
                    try: os.kill(pid, number)
                    except OSError: pass
        """
        assert grader.attack(textwrap.dedent(source) + WRONG).status in ("wrong", "stopped")
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_no_rights_are_left_or_can_be_gained(grader):
    source = """
        import ctypes, os
        status = open("/proc/self/status").read()
        assert os.getuid() != 0 and os.geteuid() != 0 and os.getgroups() in ([], [os.getgid()])
        assert "NoNewPrivs:\\t1" in status
        for line in status.splitlines():
            if line.startswith(("CapPrm", "CapEff", "CapInh", "CapAmb")):
                assert int(line.split()[1], 16) == 0, line
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) != 0
        assert libc.setuid(0) != 0
        assert not os.path.exists("/root/.ssh") and set(os.listdir("/dev/shm")) == set()
    """
    assert grader.attack(textwrap.dedent(source) + grader.right("01.1")).passed


def test_no_file_and_no_group_remains(grader, monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="left-", dir="/tmp"))  # short: the names of sockets have little room
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def leftovers():
        return [*folder.iterdir()], [*Path("/sys/fs/cgroup").glob(f"*/course-{os.getpid()}-*")]

    before = leftovers()
    grader.attack(
        "import os\nfor _ in range(20):\n    if os.fork() == 0:\n        import time; time.sleep(10_000)\n" + WRONG
    )
    assert leftovers() == before == ([], [])
    folder.rmdir()


def test_two_submissions_share_nothing(grader):
    first = "open('/tmp/note', 'w').write('x')\nimport os\nos.makedirs(os.environ['HOME'] + '/y', exist_ok=True)\n"
    assert not grader.attack(first + WRONG).passed
    second = "import os\nassert not os.path.exists('/tmp/note') and not os.path.exists(os.environ['HOME'] + '/y')\n"
    assert grader.attack(second + grader.right("01.1")).passed


def test_no_signal_reaches_the_grader(grader):
    caught = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
    try:
        grader.attack("import os, signal\ntry: os.killpg(0, signal.SIGUSR1)\nexcept OSError: pass\n" + WRONG)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert caught == []
