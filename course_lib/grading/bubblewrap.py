"""The level ``"bwrap"``: bubblewrap (Linux) gives each submission its own namespaces."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from course_lib.grading.sandbox_view import LIBRARY, MEGABYTE, Limits, environment, views

FIRST_UID = 210_000
UID_COUNT = 100_000


@functools.cache
def problem() -> str | None:
    """Why bubblewrap cannot be used here; None if it can."""
    if not sys.platform.startswith("linux"):
        return "bubblewrap needs Linux"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv (util-linux) is not installed"
    if os.geteuid() == 0 and (reason := unreadable_python()):
        return reason
    try:
        trial = subprocess.run(
            command(["/usr/bin/env", "true"], {}), capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return "bubblewrap did not start within 20 seconds"
    return None if trial.returncode == 0 else f"bubblewrap does not work ({trial.stderr.strip()[:200]})"


def unreadable_python() -> str | None:
    """Why a user other than root cannot run this Python, as after an installation with umask 077; None if she can."""
    for prefix in dict.fromkeys(Path(one).resolve() for one in (sys.base_prefix, sys.prefix)):
        folder = prefix / f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
        packages = folder / "site-packages"
        for file in (folder, folder / "os.py", packages, packages / "ipykernel" / "__init__.py"):
            if file.exists() and not file.stat().st_mode & stat.S_IROTH:
                return f"the sandbox's user cannot read {file}; run: chmod -R go+rX {prefix}"
    return None


def command(program: Sequence[str], files: Mapping[str, Path], limits: Limits | None = None) -> list[str]:
    """The command line that runs ``program`` in its own namespaces, as a user that owns no file.

    If the grader is root, to whom a limit on processes does not apply, bubblewrap builds the sandbox with root's
    rights (so it can show a Python that only root can read) and ``setpriv`` gives them up.
    """
    root = os.geteuid() == 0
    arguments = _arguments(files, limits or Limits(), [] if root else ["--disable-userns"])
    return [*arguments, *(_without_rights(program) if root else program)]


def template(program: Sequence[str], files: Mapping[str, Path]) -> list[str]:
    """The command line of a template: the same sandbox, with the rights to isolate each of its children again."""
    return [*_arguments(files, Limits(), [] if os.geteuid() == 0 else ["--cap-add", "ALL"]), *program]


def user() -> int | None:
    """The unprivileged user of this process's kernels; None if a grader without root's rights keeps its own."""
    return FIRST_UID + os.getpid() % UID_COUNT if os.geteuid() == 0 else None


def _arguments(files: Mapping[str, Path], limits: Limits, more: Sequence[str]) -> list[str]:
    arguments = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid() != 0:
        arguments += ["--unshare-user"]
    arguments += more
    arguments += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]
    for name, value in environment().items():
        arguments += ["--setenv", name, value]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for folder, size in {"/dev/shm": 64, "/tmp": limits.scratch_mb}.items():
        arguments += ["--perms", "1777", "--size", str(size * MEGABYTE), "--tmpfs", folder]
    arguments += _view_arguments()
    for inside, outside in sorted(files.items()):
        arguments += [*_parents(Path(LIBRARY) / inside), "--ro-bind", str(outside), f"{LIBRARY}/{inside}"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*arguments, "--"]


def _view_arguments() -> list[str]:
    """The read-only view of system and Python; a covered path is an empty folder."""
    arguments = []
    for view in views():
        if view.kind == "link":
            arguments += [*_parents(view.path), "--symlink", view.target, str(view.path)]
        elif view.kind == "cover":
            arguments += ["--perms", "0755", "--size", "65536", "--tmpfs", str(view.path)]
        else:
            arguments += [*_parents(view.path), "--ro-bind", str(view.path), str(view.path)]
    return arguments


def _without_rights(program: Sequence[str]) -> list[str]:
    uid = str(user())
    dropped = ["--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps", "-all", "--bounding-set", "-all"]
    return ["setpriv", *dropped, "--no-new-privs", "--", *program]


def _parents(path: Path) -> list[str]:
    """Parent folders of ``path`` with rights for all users; bubblewrap would create them for root only."""
    return [part for parent in reversed(path.parents[:-1]) for part in ("--perms", "0755", "--dir", str(parent))]
