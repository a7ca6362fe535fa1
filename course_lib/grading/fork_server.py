"""Processes that have imported already what a comparison needs, and fork each one from themselves.

Starting pytest anew costs more than comparing a notebook, and importing torch more than judging a value. The two
processes (one for each) run no code of a learner, keep nothing from one job to the next (each is a child of its own),
and end with the grader that started them. Where the system cannot do this, ``start`` runs pytest in a fresh Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PRELOADED = {
    "compare": (
        "pytest", "nbval.plugin", "jupyter_client.manager", "zmq.asyncio", "course_lib.grading.nbval_guard",
        "course_lib.grading.cell_report", "course_lib.grading.provisioner",
    ),
    "judge": ("torch", "course_lib.grading.probes"),
}  # fmt: skip
PATIENCE = 10.0
JUDGE_BYTES = 2 * 1024**3
_servers = threading.local()


class Comparison:
    """A running pytest, in a session of its own, forked from the warm process."""

    def __init__(self, server: _Server, pid: int) -> None:
        self.server, self.pid = server, pid

    def wait(self, timeout: float) -> int:
        """Its exit status.

        Raises:
            subprocess.TimeoutExpired: if it does not end in time.
            OSError: if the warm process is gone.
        """
        return self.server.read(timeout)


@contextlib.contextmanager
def start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Any]:
    """Run pytest in ``folder``; what is left of it is killed at the end.

    Yields an object with ``pid`` and ``wait(timeout)``; its errors go to ``folder/stderr.txt``.
    """
    with contextlib.ExitStack() as stack:
        if available():
            job = {"arguments": [*arguments], "folder": str(folder), "environment": {**environment}}
            yield stack.enter_context(_forked(job, "compare", environment))
        else:
            yield stack.enter_context(_fresh(arguments, folder, environment))


def available() -> bool:
    """Whether this system can fork a prepared process and watch it."""
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def judge(asked: Mapping[str, Any], environment: Mapping[str, str], seconds: float) -> bool:
    """What ``probes.judge`` says about these arguments, in a child with little time and memory."""
    with _forked({"judge": dict(asked)}, "judge", environment) as running:
        try:
            return running.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False


@contextlib.contextmanager
def _forked(job: Mapping[str, Any], kind: str, environment: Mapping[str, str]) -> Iterator[Comparison]:
    server = _server(kind, environment)
    try:
        running = server.begin(job)
        try:
            yield running
        finally:
            _kill_session(running.pid)
        server.settle()
    except BaseException:
        server.close()
        raise


@contextlib.contextmanager
def _fresh(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen]:
    with open(folder / "stderr.txt", "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments], cwd=folder, env={**environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _kill_session(process.pid)
        process.kill()
        process.wait()


def _kill_session(pid: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _server(kind: str, environment: Mapping[str, str]) -> _Server:
    """The warm process that the current thread has of a kind, made anew if it has ended."""
    server: _Server | None = getattr(_servers, kind, None)
    if server is None or server.process.poll() is not None:
        server = _Server(kind, environment)
        setattr(_servers, kind, server)
    return server


class _Server:
    """The grader's end of the pipes to a warm process."""

    def __init__(self, kind: str, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, kind], cwd="/", env={**environment}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True, bufsize=0,
        )  # fmt: skip
        self.running = False

    def begin(self, job: Mapping[str, Any]) -> Comparison:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        pid = self._line(timeout=60.0)
        self.running = True
        return Comparison(self, pid)

    def read(self, timeout: float) -> int:
        status = self._line(timeout)
        self.running = False
        return status

    def settle(self) -> None:
        """Wait for a comparison that was killed, so that the next one starts in order."""
        if self.running:
            self.read(PATIENCE)

    def close(self) -> None:
        """End the process; whatever it runs ends with it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self, timeout: float) -> int:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired("pytest", timeout)
        line = self.process.stdout.readline()
        if not line:
            raise OSError("the process that compares has ended")
        return int(line)


def serve(kind: str) -> None:
    """Read jobs from standard input until the grader is gone; answer each with process id and exit status."""
    import gc
    import importlib

    for name in PRELOADED[kind]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    jobs, answers = os.fdopen(0, "rb", buffering=0, closefd=False), os.dup(1)
    os.dup2(2, 1)
    while line := jobs.readline():
        job = json.loads(line)
        if kind == "judge":
            importlib.import_module(job["judge"]["module"])
        if (pid := os.fork()) == 0:
            os.close(answers)
            _become(job)
        os.write(answers, b"%d\n" % pid)
        os.write(answers, b"%d\n" % _status(pid))


def _status(pid: int) -> int:
    """Wait for a child; if the grader goes away meanwhile, the child goes too."""
    watched = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([watched, 0], [], [])
        if watched not in ready:
            _kill_session(pid)
            os._exit(1)
    finally:
        os.close(watched)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _become(job: Mapping[str, Any]) -> None:
    """In the child: do what the job describes, and never come back."""
    status = 70
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        status = _judged(job["judge"]) if "judge" in job else _compared(job)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def _compared(job: Mapping[str, Any]) -> int:
    import pytest

    os.chdir(job["folder"])
    os.dup2(os.open("stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    os.environ.clear()
    os.environ.update(job["environment"])
    return int(pytest.main([*job["arguments"]]))


def _judged(asked: Mapping[str, Any]) -> int:
    import resource

    from course_lib.grading import probes

    resource.setrlimit(resource.RLIMIT_DATA, (JUDGE_BYTES, JUDGE_BYTES))
    return 0 if probes.judge(**asked) else 1


if __name__ == "__main__":
    serve(sys.argv[1])
