"""Run pip with one line of progress, and report a failure in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from course_lib.launch.environment import Environment
from course_lib.launch.errors import DiskFull, LaunchError

STEP = re.compile(r"^(Collecting|Downloading|Using cached|Building|Installing collected packages)[ :]+([\w.-]+)?", re.M)
NETWORK_ERRORS = (
    "Retrying (", "NewConnectionError", "ConnectTimeout", "ReadTimeout", "ConnectionError", "ProxyError", "SSLError",
)  # fmt: skip
DISK_ERRORS = ("No space left on device", "Errno 28")
POLL_SECONDS = 0.3
LOG_SECONDS = 30


def install(environment: Environment, extras: Sequence[str], pip_options: Sequence[str]) -> None:
    """Install the project (editable) with exactly the versions of ``requirements.lock``; the log is kept in runs/.

    Raises:
        LaunchError: if pip fails, with the reason and the remedy in one line.
    """
    project = f".[{','.join(extras)}]" if extras else "."
    command = [
        str(environment.python), "-m", "pip", "install", "--no-input", "--progress-bar", "off",
        "--constraint", "requirements.lock", *pip_options, "--editable", project,
    ]  # fmt: skip
    retries = os.environ.get("PIP_RETRIES", "2")  # a variable also reaches the pip that fetches the build tools
    environment.log.parent.mkdir(parents=True, exist_ok=True)
    print("Installing the course in .venv; the first time this takes a few minutes.", flush=True)
    with environment.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=environment.root, env=environment.variables(PIP_RETRIES=retries), stdout=log,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, close_fds=False,  # pip inherits the lock of this start
        )  # fmt: skip
        try:
            _show_progress(process, environment.log)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        output = environment.log.read_text(encoding="utf-8", errors="replace")
        full = any(text in output for text in DISK_ERRORS)
        raise (DiskFull if full else LaunchError)(explain(output, environment.log))


def explain(output: str, log: Path) -> str:
    """Reason and remedy of a failed pip run in one line, from its output and the name of its log."""
    if any(text in output for text in DISK_ERRORS):
        return "not enough disk: pip ran out of space; free 7 GB (2 GB with a CPU-only torch) and start again"
    if any(text in output for text in NETWORK_ERRORS):
        return f"no network: the package index could not be reached; connect and start again (details: {log})"
    if "No matching distribution found" in output:
        missing = re.findall(r"No matching distribution found for ([^\s;]+)", output)[-1]
        return f"the package index has no {missing} for this Python and system; see --wheels in README.md ({log})"
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["pip stopped without a reason"]
    reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
    return f"the installation failed: {reason.removeprefix('ERROR: ')} (details: {log})"


def current_step(output: str) -> str:
    """The step that pip is at, from the last matching line of its output."""
    steps = STEP.findall(output)
    if not steps:
        return "starting pip"
    action, package = steps[-1]
    if action.startswith("Installing"):
        packages = {name for action, name in steps if action == "Collecting"}
        return f"unpacking {len(packages)} packages"
    return f"{action.lower()} {package}"


def _show_progress(process: subprocess.Popen, log: Path) -> None:
    """On a terminal one line that is overwritten; elsewhere a new line every ``LOG_SECONDS``."""
    terminal, started, printed = sys.stdout.isatty(), time.monotonic(), 0.0
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - started
        if not terminal and seconds - printed < LOG_SECONDS:
            continue
        printed = seconds
        line = f"{seconds:4.0f} s  {current_step(log.read_text(encoding='utf-8', errors='replace'))}"
        print(f"\r{line[:78]:<78}" if terminal else line, end="" if terminal else "\n", flush=True)
    if terminal:
        print(f"\r{'':<78}\r", end="", flush=True)
