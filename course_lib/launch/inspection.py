"""Checks before the start: assets, disk, port, kernel. Each problem is one line with its remedy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from course_lib import assets
from course_lib.launch import requirements
from course_lib.launch.environment import Environment
from course_lib.launch.errors import DiskFull, EnvironmentDamaged, LaunchError

GIGABYTE = 10**9
INSTALLED_GB = {"linux": 7.0}  # torch for Linux includes the CUDA libraries; elsewhere it is a CPU build
INSTALLED_GB_ELSEWHERE = 2.0
DOWNLOADED_GB = 3.0
KERNEL_QUESTION = (
    "import os, sys; from jupyter_client.kernelspec import KernelSpecManager as M; "
    "print(M().get_kernel_spec('python3').argv[0]); print(sys.executable)"
)


def check_assets() -> None:
    """Raise ``LaunchError`` if a shipped file is missing or damaged."""
    try:
        problems = assets.verify()
    except (assets.AssetError, ValueError, KeyError) as error:
        problems = [f"{assets.MANIFEST.name} is missing or damaged ({error})"]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        remedy = "" if "git checkout" in problems[0] else "; get it back with: git checkout -- course_lib/assets"
        raise LaunchError(f"{problems[0]}{remedy}{more}")


def check_folder(root: Path) -> None:
    """Raise ``LaunchError`` if a virtual environment cannot be in this folder because of its name."""
    if os.pathsep in str(root):
        raise LaunchError(
            f"the project's path contains {os.pathsep!r}, which separates paths in PATH, so no virtual environment can "
            f"be there: {root}; move or rename the folder and start again"
        )


def check_writable(root: Path) -> None:
    """Raise ``LaunchError`` if this user cannot create files in the project's folder."""
    try:
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise LaunchError(
            f"no permission to write in {root} ({error.strerror}), where the environment .venv belongs; copy the "
            "project to a folder of your own and start there"
        ) from error


def check_disk(environment: Environment) -> None:
    """Raise ``DiskFull`` if the disk lacks space; an environment that has the locked torch needs little more."""
    needed = INSTALLED_GB.get(sys.platform, INSTALLED_GB_ELSEWHERE)
    wanted = requirements.locked_version(environment.root, "torch")
    installed = [path.name.split("-")[1] for path in environment.site_packages.glob("torch-*.dist-info")]
    if wanted is None or wanted in [name.removesuffix(".dist").split("+")[0] for name in installed]:
        needed = 0.5
    folders = {environment.root: needed, Path(tempfile.gettempdir()): min(needed, DOWNLOADED_GB)}
    for folder, gigabytes in folders.items():
        free = shutil.disk_usage(folder).free / GIGABYTE
        if free < gigabytes:
            raise DiskFull(
                f"not enough disk: {folder} has {free:.1f} GB free and {gigabytes:.1f} GB are needed; free some, or "
                "use a CPU-only build of torch (2 GB): see --wheels in README.md"
            )


def choose_port(wanted: int | None, default: int) -> int:
    """``wanted`` if it is free, else ``LaunchError``; for None the first free port from ``default`` on."""
    if wanted is not None and not 1 <= wanted <= 65535:
        raise LaunchError(f"--port must lie in 1 ... 65535, got {wanted}")
    if wanted is None:
        return next(port for port in range(default, 65536) if is_free(port))
    if not is_free(wanted):
        free = next(port for port in range(min(wanted + 1, default), 65536) if is_free(port))
        raise LaunchError(f"port {wanted} is taken; start again with --port {free}")
    return wanted


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of this machine."""
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def check_kernel(environment: Environment) -> None:
    """Raise ``LaunchError`` if Jupyter would start the notebooks' kernel ``python3`` from another environment.

    Raises:
        EnvironmentDamaged: if Jupyter does not run.
    """
    command = [str(environment.python), "-c", KERNEL_QUESTION]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment.variables())
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        remedy = "delete the folders .venv and .venvs and start again"
        raise EnvironmentDamaged(f"the environment in .venv is damaged ({reason}); {remedy}") from error
    kernel, own = (Path(line) for line in answer.stdout.splitlines()[:2])
    # Jupyter replaces a bare "python" by the interpreter that it runs on
    if kernel.name != str(kernel) and kernel.parent.resolve() != own.parent.resolve():
        raise LaunchError(
            f"the kernel 'python3' belongs to another environment ({kernel}); unset JUPYTER_PATH, or remove it "
            "with: .venv/bin/jupyter kernelspec remove python3"
        )


def is_root() -> bool:
    """Whether this process runs as root, as in most containers (JupyterLab then needs ``--allow-root``)."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
