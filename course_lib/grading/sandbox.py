"""Where a learner's code runs: a room with its own namespaces, a read-only view of Python, and limits.

Levels, strongest first: ``"bwrap"`` (Linux with bubblewrap) hides the file system, the network and all other
processes. ``"process"`` only sets limits and a clean environment; it does not protect from hostile code and has
to be asked for. If the wanted level cannot be had, nothing runs.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

LEVELS = ("bwrap", "process")
MEGABYTE = 1024 * 1024
HOME = "/tmp/home"
LIBRARY = "/course"
FIRST_UID = 210_000
UID_COUNT = 100_000
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime")


class SandboxError(OSError):
    """The wanted level of protection is not available here."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Args:
        question_seconds: wall-clock for one cell.
        notebook_seconds: wall-clock for the whole notebook, start of the kernel included.
        cpu_seconds: processor time of one process.
        memory_mb: data of one process, and of all together where cgroups are available.
        address_space_mb: room for mapped libraries beside it.
        scratch_mb: the private temporary folder, which lives in memory.
        processes: processes and threads.
        open_files: file descriptors of one process.
        file_mb: size of one file.
        output_kb: what all cells together may print.
    """

    question_seconds: float = 20.0
    notebook_seconds: float = 120.0
    cpu_seconds: int = 120
    memory_mb: int = 2048
    address_space_mb: int = 12_288
    scratch_mb: int = 256
    processes: int = 64
    open_files: int = 512
    file_mb: int = 128
    output_kb: int = 4096

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, got {value}")

    def rlimits(self) -> dict[str, int]:
        """The limits that the kernel of the operating system keeps."""
        return {
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_DATA": self.memory_mb * MEGABYTE,
            "RLIMIT_AS": (self.memory_mb + self.address_space_mb) * MEGABYTE,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_FSIZE": self.file_mb * MEGABYTE,
            "RLIMIT_CORE": 0,
        }


@dataclass(frozen=True)
class Room:
    """What is visible inside: ``files`` maps a path in ``/course`` to the file or folder outside."""

    files: Mapping[str, Path] = field(default_factory=dict)


def require(level: str = "bwrap") -> str:
    """Return ``level`` if it works here.

    Raises:
        SandboxError: if it does not, with the reason; the caller must not go on without it.
        ValueError: if there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(map(repr, LEVELS))}; got {level!r}")
    if level == "bwrap" and (problem := bwrap_problem()):
        raise SandboxError(f"no sandbox: {problem}; hostile code would reach this machine, so nothing was run")
    return level


@functools.cache
def bwrap_problem() -> str | None:
    """Why bubblewrap cannot be used here; None if it can."""
    if not sys.platform.startswith("linux"):
        return "bubblewrap needs Linux"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv (util-linux) is not installed"
    try:
        trial = subprocess.run(
            bwrap(["/usr/bin/env", "true"], Room()), capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return "bubblewrap did not start within 20 seconds"
    return None if trial.returncode == 0 else f"bubblewrap does not work ({trial.stderr.strip()[:200]})"


def wrap(level: str, command: Sequence[str], room: Room, limits: Limits) -> list[str]:
    """The command line that runs ``command`` at this level."""
    if level == "bwrap":
        return bwrap(command, room, limits)
    return list(command)


def bwrap(command: Sequence[str], room: Room, limits: Limits | None = None) -> list[str]:
    """``command`` in namespaces of its own, as a user that owns nothing.

    The grader may be root, for whom a limit on processes means nothing: then bubblewrap builds the room with
    root's rights (it can hence show a Python that only root may reach) and ``setpriv`` gives them up.
    """
    limits = limits or Limits()
    root = os.geteuid() == 0
    arguments = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if not root:
        arguments += ["--unshare-user", "--disable-userns"]
    arguments += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]
    for name, value in environment().items():
        arguments += ["--setenv", name, value]
    arguments += [*_system(), "--proc", "/proc", "--dev", "/dev"]
    for folder, size in {"/dev/shm": 64, "/tmp": limits.scratch_mb}.items():
        arguments += ["--perms", "1777", "--size", str(size * MEGABYTE), "--tmpfs", folder]
    arguments += _python()
    for inside, outside in sorted(room.files.items()):
        arguments += [*_parents(Path(LIBRARY) / inside), "--ro-bind", str(outside), f"{LIBRARY}/{inside}"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    if root:
        uid = str(FIRST_UID + os.getpid() % UID_COUNT)
        dropped = ["--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps", "-all", "--bounding-set", "-all"]
        command = ["setpriv", *dropped, "--no-new-privs", "--", *command]
    return [*arguments, "--", *command]


def environment(home: str = HOME, library: str = LIBRARY) -> dict[str, str]:
    """All environment variables that the learner's code sees."""
    return {
        "HOME": home,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TMPDIR": "/tmp",
        "PYTHONPATH": library,
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": f"{home}/ipython",
        "JUPYTER_CONFIG_DIR": f"{home}/jupyter",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "MPLBACKEND": "Agg",
        "COURSE_PROGRESS": f"{home}/progress.json",
        "COURSE_CACHE": f"{home}/cache",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def _system() -> list[str]:
    """``/usr`` and what leads to it, read-only, and nothing else of the machine."""
    arguments = []
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    for name in SYSTEM_FILES:
        arguments += ["--ro-bind-try", name, name]
    return arguments


def _python() -> list[str]:
    """The running Python and its environment, with the installed course package covered."""
    prefixes = dict.fromkeys(str(Path(prefix).resolve()) for prefix in (sys.base_prefix, sys.prefix))
    arguments = []
    for prefix in prefixes:
        if not prefix.startswith("/usr"):
            arguments += [*_parents(Path(prefix)), "--ro-bind", prefix, prefix]
        arguments += [part for folder in Path(prefix).glob("lib/python*/site-packages/course_lib")
                      for part in ("--tmpfs", str(folder))]  # fmt: skip
    return arguments


def _parents(path: Path) -> list[str]:
    """Folders on the way to ``path`` that everybody may pass; bubblewrap's own would be closed to all but root."""
    return [part for parent in reversed(path.parents[:-1]) for part in ("--perms", "0755", "--dir", str(parent))]
