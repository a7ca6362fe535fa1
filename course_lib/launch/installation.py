"""Run pip with one quiet line of progress, and turn its failures into one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.launch.inspection import LaunchError

if TYPE_CHECKING:
    from course_lib.launch.environment import Environment

STEP = re.compile(r"^(Collecting|Downloading|Using cached|Building|Installing collected packages)[ :]+([\w.-]+)?", re.M)
NETWORK = (
    "Retrying (",
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "ConnectionError",
    "ProxyError",
    "SSLError",
)
DISK = ("No space left on device", "Errno 28")
QUIET_SECONDS = 30


def install(environment: Environment, extras: Sequence[str], pip_options: Sequence[str]) -> None:
    """Install the project (editable) with exactly the versions of ``requirements.lock``; the log is kept in runs/.

    Raises:
        LaunchError: if pip fails, with the reason and the remedy in one line.
    """
    wanted = f".[{','.join(extras)}]" if extras else "."
    command = [
        str(environment.python), "-m", "pip", "install", "--no-input", "--progress-bar", "off",
        "--constraint", "requirements.lock", *pip_options, "--editable", wanted,
    ]  # fmt: skip
    patience = {"PIP_RETRIES": os.environ.get("PIP_RETRIES", "2")}  # also for the pip that fetches the build tools
    environment.log.parent.mkdir(parents=True, exist_ok=True)
    print("Installing the course in .venv; the first time this takes a few minutes.", flush=True)
    with environment.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=environment.root, env=environment.variables(**patience), stdout=log, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _show_progress(process, environment.log)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise LaunchError(explain(environment.log.read_text(encoding="utf-8", errors="replace"), environment.log))


def explain(output: str, log: Path) -> str:
    """One line for a failed pip: what went wrong and what to do."""
    if any(sign in output for sign in DISK):
        return "not enough disk: pip ran out of space; free 7 GB (2 GB with a CPU-only torch) and start again"
    if any(sign in output for sign in NETWORK):
        return f"no network: the package index could not be reached; connect and start again (details: {log})"
    if "No matching distribution found" in output:
        missing = re.findall(r"No matching distribution found for (\S+)", output)[-1]
        return f"the package index has no {missing} for this Python and system; see --wheels in README.md ({log})"
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["pip stopped without a reason"]
    reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
    return f"the installation failed: {reason.removeprefix('ERROR: ')} (details: {log})"


def current_step(output: str) -> str:
    """What pip is doing, from the last telling line of its output."""
    steps = STEP.findall(output)
    if not steps:
        return "starting pip"
    verb, subject = steps[-1]
    packages = len({name for kind, name in steps if kind == "Collecting"})
    if verb.startswith("Installing"):
        return f"unpacking {packages} packages"
    return f"{verb.lower()} {subject}"


def _show_progress(process: subprocess.Popen, log: Path) -> None:
    """On a terminal one line that renews itself; elsewhere a line every half minute."""
    terminal, started, told = sys.stdout.isatty(), time.monotonic(), 0.0
    while process.poll() is None:
        time.sleep(0.3)
        seconds = time.monotonic() - started
        if not terminal and seconds - told < QUIET_SECONDS:
            continue
        told = seconds
        line = f"{seconds:4.0f} s  {current_step(log.read_text(encoding='utf-8', errors='replace'))}"
        print(f"\r{line[:78]:<78}" if terminal else line, end="" if terminal else "\n", flush=True)
    if terminal:
        print(f"\r{'':<78}\r", end="", flush=True)
