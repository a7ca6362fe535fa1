"""The project's virtual environment ``.venv``: its paths, how to run it, and what is installed in it.

A stamp file holds a hash of everything that decides what is installed. A marker file exists while an installation
runs; if it is still there at the next start, the installation was interrupted and the environment is not trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

INPUTS = ("pyproject.toml", "requirements.lock")


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
        """The interpreter of the environment."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def extras(self) -> set[str]:
        """Extras of the project that the stamp lists as installed."""
        return set(self._read_stamp().get("extras", []))

    def is_ready(self, extras: Iterable[str] = ()) -> bool:
        """Whether everything is installed as the lock says, judged by the stamp alone (a few milliseconds)."""
        return (
            self.python.exists()
            and not self.marker.exists()
            and self._read_stamp().get("identity") == self._identity()
            and set(extras) <= self.extras
        )

    def is_usable(self) -> bool:
        """Whether the environment can be completed in place: its Python and pip work and no installation was cut."""
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
        """Environment variables of a child process: no settings of other Pythons, the ``.venv``'s commands first."""
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
        path = os.pathsep.join([str(self.python.parent), kept.get("PATH", os.defpath)])
        return {
            **kept, "PATH": path, "VIRTUAL_ENV": str(self.folder), "PYTHONNOUSERSITE": "1",
            "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_PLATFORM_DIRS": "1", **extra,
        }  # fmt: skip

    def write_stamp(self, extras: Iterable[str]) -> None:
        """Record that everything is installed with these extras."""
        content = {"identity": self._identity(), "extras": list(extras)}
        self.stamp.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _identity(self) -> str:
        """Hash of what decides the installation: lock, project file, Python version, platform and folder."""
        digest = hashlib.sha256()
        for name in INPUTS:
            digest.update((self.root / name).read_bytes())
        digest.update(repr((sys.version_info[:2], sys.platform, str(self.root))).encode())
        return digest.hexdigest()

    def _read_stamp(self) -> dict[str, Any]:
        try:
            content = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
