"""What a learner's code may see and use in every sandbox: limits, environment, and a view of the file system.

The view is the system and the running Python, read-only. The project folder of the course, or its installed package,
is covered where the view would show it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

MEGABYTE = 1024 * 1024
HOME = "/tmp/home"
LIBRARY = "/course"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime")
PACKAGE = Path(__file__).resolve().parents[1]


class SandboxError(OSError):
    """The requested level of protection is not available here."""


@dataclass(frozen=True)
class Limits:
    """Limits of one submission.

    Args:
        question_seconds: wall-clock for one cell.
        notebook_seconds: wall-clock for one run of the notebook, start of the kernel included.
        submission_seconds: all runs of a notebook together.
        cpu_seconds: processor time of one process.
        memory_mb: data of one process, and of all together where cgroups are available.
        address_space_mb: address space for mapped libraries, in addition to ``memory_mb``.
        scratch_mb: the private temporary folder, which is in memory.
        processes: processes and threads.
        open_files: file descriptors of one process.
        file_mb: size of one file.
        output_kb: what all cells together may print.
        notebook_mb: size of a submitted notebook, stored outputs included (they are dropped).
    """

    question_seconds: float = 20.0
    notebook_seconds: float = 120.0
    submission_seconds: float = 360.0
    cpu_seconds: int = 120
    memory_mb: int = 2048
    address_space_mb: int = 12_288
    scratch_mb: int = 256
    processes: int = 64
    open_files: int = 512
    file_mb: int = 128
    output_kb: int = 4096
    notebook_mb: int = 50

    @property
    def notebook_bytes(self) -> int:
        """Bytes that a submitted notebook may have."""
        return self.notebook_mb * 1_000_000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, got {value}")

    def rlimits(self) -> dict[str, int]:
        """The limits that the operating system enforces, by the name of the constant in ``resource``."""
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
class View:
    """One path inside: ``"show"`` the same path outside, ``"link"`` to ``target``, or ``"cover"`` it."""

    path: Path
    kind: str
    target: str = ""


def views() -> list[View]:
    """System and Python as the learner's code sees them, outer folders before inner ones."""
    shown, covered = (View(prefix, "show") for prefix in _prefixes()), (View(path, "cover") for path in _own())
    wanted = [*_system(), *_link_to_prefix(), *shown, *covered]
    chosen: list[View] = []
    for one in sorted(wanted, key=lambda view: len(view.path.parts)):
        if (one.kind != "show" or not _is_shown(one.path, chosen)) and (
            one.kind != "cover" or _is_shown(one.path, chosen)
        ):
            chosen.append(one)
    return chosen


def shows(path: str | Path) -> bool:
    """Whether the learner's code could read ``path`` in the sandbox."""
    return _is_shown(Path(path).resolve(), views())


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


def _system() -> Iterable[View]:
    """``/usr``, the links to it, and files that programs need."""
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            yield View(path, "link", os.readlink(path))
        elif path.is_dir():
            yield View(path, "show")
    for path in map(Path, SYSTEM_FILES):
        if path.is_file():
            yield View(path, "show")


def _prefixes() -> Iterable[Path]:
    return dict.fromkeys(Path(prefix).resolve() for prefix in (sys.base_prefix, sys.prefix))


def _link_to_prefix() -> Iterable[View]:
    """The link through which this Python was started, such as ``.venv``."""
    prefix = Path(sys.prefix)
    if prefix.is_symlink():
        yield View(prefix, "link", str(prefix.resolve()))


def _own() -> Iterable[Path]:
    """The course: its project folder, or the package alone where it is installed; and older installed copies."""
    project = PACKAGE.parent
    yield project if (project / "pyproject.toml").is_file() else PACKAGE
    for prefix in _prefixes():
        yield from prefix.glob("lib/python*/site-packages/course_lib")
    for folder in (Path("/usr/lib"), Path("/usr/local/lib")):
        yield from folder.glob("python*/dist-packages/course_lib")


def _is_shown(path: Path, among: Iterable[View]) -> bool:
    around = [view for view in among if view.kind != "link" and path.is_relative_to(view.path)]
    return bool(around) and max(around, key=lambda view: len(view.path.parts)).kind == "show"
