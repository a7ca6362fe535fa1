"""Fork servers: processes that have imported what a job needs and run each job in a forked child.

Starting pytest takes longer than comparing a notebook, and importing torch longer than judging a value. There is one
server for each of these two kinds of job. A server runs no code of a learner, keeps nothing between jobs, and ends
with the grader that started it. Where the system cannot do this, a job runs without a server.
"""

from __future__ import annotations

import contextlib
import functools
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

from course_lib.grading import judge as judging

PRELOADED = {
    "compare": (
        "pytest", "nbval.plugin", "jupyter_client.manager", "zmq.asyncio", "course_lib.grading.nbval_guard",
        "course_lib.grading.cell_report", "course_lib.grading.provisioner", "IPython.core.interactiveshell",
        "IPython.display", "_pytest.skipping", "_pytest.junitxml", "_pytest.unittest", "_pytest.helpconfig",
        "_pytest.warnings", "_pytest.threadexception", "_pytest.tracemalloc", "unittest", "pdb", "faulthandler",
    ),
    "judge": ("torch", "course_lib.grading.judge"),
}  # fmt: skip
START_SECONDS = 300.0
END_SECONDS = 10.0
JUDGE_SECONDS = 120.0
JUDGE_BYTES = 2 * 1024**3
FAILED = 70  # exit status of a child that could not do its job
_servers = threading.local()


@contextlib.contextmanager
def start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Any]:
    """Run pytest in ``folder``; its session is killed at the end.

    Yields an object with ``pid`` and ``wait(timeout)``; its errors go to ``folder/stderr.txt``.
    """
    job = {"arguments": [*arguments], "folder": str(folder), "environment": {**environment}}
    forked = _forked(job, "compare", environment) if available() else _without_server(arguments, folder, environment)
    with forked as process:
        yield process


def available() -> bool:
    """Whether this system can wait for a forked child and for the grader at once (Linux with ``pidfd``)."""
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def judge(arguments: Mapping[str, Any], right: str, environment: Mapping[str, str]) -> bool:
    """``course_lib.grading.judge.judge`` with these arguments, in a child with limited time and memory.

    Args:
        right: the solution's value, with which the server runs the probe once, so that its children find data and
            models in memory; empty if it is not known.
    """
    if not available():
        return judging.judge(**arguments)
    with _forked({"judge": dict(arguments), "right": right}, "judge", environment) as job:
        try:
            return job.wait(JUDGE_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False


def close_all() -> None:
    """End the servers of the current thread; the next job starts its server again."""
    for kind in PRELOADED:
        if (server := _servers.__dict__.pop(kind, None)) is not None:
            server.close()


@contextlib.contextmanager
def _forked(job: Mapping[str, Any], kind: str, environment: Mapping[str, str]) -> Iterator[Any]:
    server = _server(kind, environment)
    try:
        server.begin(job)
        try:
            yield server
        finally:
            _kill_session(server.pid)
        if server.running:  # the status of a job that was killed is not that of the next one
            server.wait(END_SECONDS)
    except BaseException:
        server.close()
        raise


@contextlib.contextmanager
def _without_server(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Any]:
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
    """The current thread's server of a kind; started if there is none or it has ended."""
    server: _Server | None = getattr(_servers, kind, None)
    if server is None or server.process.poll() is not None:
        server = _Server(kind, environment)
        setattr(_servers, kind, server)
    return server


class _Server:
    """The grader's end of the pipes to a server process; ``pid`` is that of the job, a session of its own."""

    def __init__(self, kind: str, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, kind], cwd="/", env={**environment}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True, bufsize=0,
        )  # fmt: skip
        self.running, self.pid = False, 0

    def begin(self, job: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.pid, self.running = self._read_number(START_SECONDS), True

    def wait(self, timeout: float | None) -> int:
        """The exit status of the job; ``timeout`` in seconds, without end if it is None.

        Raises:
            subprocess.TimeoutExpired: if it does not end in time.
            OSError: if the server has ended.
        """
        status, self.running = self._read_number(timeout), False
        return status

    def close(self) -> None:
        """End the server and the job that it runs."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _read_number(self, timeout: float | None) -> int:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired("job of a fork server", timeout or 0.0)
        line = self.process.stdout.readline()
        if not line:
            raise OSError("the fork server has ended")
        return int(line)


def serve(kind: str) -> None:
    """Run jobs from standard input until it is closed; answer each with process id and exit status."""
    import gc
    import importlib

    for name in PRELOADED[kind]:
        importlib.import_module(name)
    if kind == "compare":
        _compile_schema()
        importlib.import_module("course_lib.grading.provisioner").register()  # reads the entry points of all packages
    gc.collect()
    gc.freeze()
    jobs, answers = os.fdopen(0, "rb", buffering=0, closefd=False), os.dup(1)
    os.dup2(2, 1)
    while line := jobs.readline():
        job = json.loads(line)
        if kind == "judge":
            _prepare_judge(job["judge"], job["right"])
        if (pid := os.fork()) == 0:
            os.close(answers)
            _run(job)
        os.write(answers, b"%d\n" % pid)
        os.write(answers, b"%d\n" % _status(pid))


@functools.cache
def _prepared(module: str, probe: str, right: str) -> None:
    judging.judge(module, probe, right, 0, "", ())


def _prepare_judge(arguments: Mapping[str, Any], right: str) -> None:
    """Load what a probe needs, with the course's own value and never with one of a learner."""
    import importlib

    importlib.import_module(arguments["module"])
    if right:
        _prepared(arguments["module"], arguments["probe"], right)


def _compile_schema() -> None:
    """Let nbformat compile its schema once; every child that reads a notebook would do it again."""
    import nbformat

    nbformat.validate(nbformat.v4.new_notebook())


def _status(pid: int) -> int:
    """Wait for a child; if the grader ends before it, kill the child and end too."""
    child = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([child, 0], [], [])
        if child not in ready:
            _kill_session(pid)
            os._exit(1)
    finally:
        os.close(child)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _run(job: Mapping[str, Any]) -> None:
    """In the child: do what the job describes, then end the process."""
    status = FAILED
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        status = _run_judge(job["judge"]) if "judge" in job else _run_pytest(job)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def _run_pytest(job: Mapping[str, Any]) -> int:
    import pytest

    os.chdir(job["folder"])
    os.dup2(os.open("stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    os.environ.clear()
    os.environ.update(job["environment"])
    arguments, plugins = _with_modules(job["arguments"])
    return int(pytest.main(arguments, plugins))


def _with_modules(arguments: Sequence[str]) -> tuple[list[str], list[Any]]:
    """Arguments without ``-p NAME``, and these modules: pytest would look for each name among all entry points."""
    import importlib

    left, plugins, rest = [], [], iter(arguments)
    for argument in rest:
        name = next(rest) if argument == "-p" else None
        if name is None or name.startswith("no:"):
            left += [argument] if name is None else [argument, name]
        else:
            plugins.append(importlib.import_module(name))
    return left, plugins


def _run_judge(arguments: Mapping[str, Any]) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (JUDGE_BYTES, JUDGE_BYTES))
    return 0 if judging.judge(**arguments) else 1


if __name__ == "__main__":
    serve(sys.argv[1])
