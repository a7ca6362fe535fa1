"""The project's own ``.venv``: made once, recognised by a stamp, made anew when it is half-made.

The stamp holds a hash of everything that decides what is installed. While an installation runs, a marker file
stands in the environment; one that still has it was interrupted and cannot be trusted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from course_lib.launch import inspection, installation
from course_lib.launch.inspection import LaunchError

__all__ = ["Environment", "LaunchError"]

INPUTS = ("pyproject.toml", "requirements.lock")
# JupyterLab would ask about news at the first start, and look for updates: the course works offline.
LAB_DEFAULTS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


class Environment:
    """The virtual environment of the project in ``root``.

    Args:
        root: folder of the project, which holds ``pyproject.toml`` and ``requirements.lock``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.stamp = self.folder / "course-stamp.json"
        self.marker = self.folder / "course-installation-unfinished"
        self.log = root / "runs" / "install.log"

    @property
    def python(self) -> Path:
        """The interpreter inside."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def prepare(self, extras: Sequence[str] = (), pip_options: Sequence[str] = ()) -> bool:
        """Make or complete the environment; returns whether anything had to be installed.

        Raises:
            LaunchError: if it cannot be made, in one line with the remedy.
        """
        if self.is_ready(extras):
            return False
        extras = sorted({*extras, *self._recorded().get("extras", [])})
        started = time.monotonic()
        if not self.is_sound():
            self._make()
        inspection.check_disk(self)
        self.marker.touch()
        installation.install(self, extras, pip_options)
        self._keep_lab_quiet()
        self._write_stamp(extras)
        self.marker.unlink(missing_ok=True)
        print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)
        return True

    def is_ready(self, extras: Iterable[str] = ()) -> bool:
        """Whether everything is installed as the lock says, judged by the stamp alone (a few milliseconds)."""
        recorded = self._recorded()
        return (
            self.python.exists()
            and not self.marker.exists()
            and recorded.get("identity") == self._identity()
            and set(extras) <= set(recorded.get("extras", []))
        )

    def is_sound(self) -> bool:
        """Whether the environment can be completed in place: its Python and pip work and nothing was cut short."""
        if self.marker.exists() or self.folder.is_symlink() or not self.python.exists():
            return False
        question = "import pip, sys; print(sys.prefix, *sys.version_info[:2], sep='\\n')"
        try:
            answer = subprocess.run([self.python, "-c", question], capture_output=True, text=True, check=False)
        except OSError:
            return False
        prefix, *numbers = answer.stdout.split("\n")[:3]
        same = Path(prefix) == self.folder and numbers == [str(number) for number in sys.version_info[:2]]
        return answer.returncode == 0 and same

    def call(self, *arguments: str, **variables: str) -> int:
        """Run the environment's Python in the project's folder, with extra environment variables; its exit code."""
        return subprocess.call([self.python, *arguments], cwd=self.root, env=self.variables(**variables))

    def variables(self, **extra: str) -> dict[str, str]:
        """Environment variables for what runs inside: nothing from other Pythons, the ``.venv``'s commands first."""
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
        path = os.pathsep.join([str(self.python.parent), kept.get("PATH", os.defpath)])
        return {
            **kept, "PATH": path, "VIRTUAL_ENV": str(self.folder), "PYTHONNOUSERSITE": "1",
            "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_PLATFORM_DIRS": "1", **extra,
        }  # fmt: skip

    def _make(self) -> None:
        if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
            raise LaunchError(
                "this Python has no venv module; install it (Debian, Ubuntu: apt install python3-venv) and start again"
            )
        if self.folder.is_symlink() or self.folder.is_file():
            self.folder.unlink()
        elif self.folder.exists():
            print("The environment in .venv is unfinished or from elsewhere; it is made anew.", flush=True)
            shutil.rmtree(self.folder, ignore_errors=True)
        made = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", self.folder], capture_output=True, text=True, check=False
        )
        if made.returncode:
            reason = (made.stderr or made.stdout).strip().splitlines() or ["no reason given"]
            raise LaunchError(f"could not make .venv ({reason[-1]}); delete the folder .venv and start again")

    def _keep_lab_quiet(self) -> None:
        """Defaults of JupyterLab in this environment; whoever wants others can still choose them in its settings."""
        file = self.folder / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(LAB_DEFAULTS, indent=1), encoding="utf-8")

    def _identity(self) -> str:
        """Hash of what decides the installation: lock, project file, Python version, place."""
        digest = hashlib.sha256()
        for name in INPUTS:
            digest.update((self.root / name).read_bytes())
        digest.update(repr((sys.version_info[:2], sys.platform, str(self.root))).encode())
        return digest.hexdigest()

    def _recorded(self) -> dict:
        try:
            recorded = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return recorded if isinstance(recorded, dict) else {}

    def _write_stamp(self, extras: Sequence[str]) -> None:
        content = {"identity": self._identity(), "extras": list(extras)}
        self.stamp.write_text(json.dumps(content, indent=1), encoding="utf-8")
