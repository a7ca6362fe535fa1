"""A virtual environment of the project: its paths, how to run it, and what is installed in it.

``.venv`` is the environment in use, a link to a folder in ``.venvs`` or a folder itself. A stamp file is written when
everything is installed; it holds a hash of what decides the installation. A marker file exists in an environment that
is being built.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_lib.launch import distributions, requirements

OLDEST_PYTHON = (3, 11)
IGNORED = ("PYTHONHOME", "PYTHONPATH", "PYTHONSAFEPATH")
PIP_QUESTION = "import pip, sys; print(sys.prefix, *sys.version_info[:2], sep='\\n')"
PACKAGE_QUESTION = """
import importlib.metadata, importlib.util, sys
for name in sys.argv[1:]:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"{name} is not installed")
spec = importlib.util.find_spec("course_lib")
print(spec.origin if spec else "")
"""


class Environment:
    """A virtual environment of the project in ``root``.

    Args:
        root: folder of the project, which holds ``pyproject.toml`` and ``requirements.lock``.
        folder: folder of the environment; by default ``.venv``, the one in use.
    """

    def __init__(self, root: Path, folder: Path | None = None) -> None:
        self.root = root
        self.folder = folder or root / ".venv"
        self.stamp = self.folder / "course-stamp.json"
        self.marker = self.folder / "course-installation-unfinished"
        self.log = root / "runs" / "install.log"

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self) -> Path:
        """The folder of the installed packages."""
        found = (*self.folder.glob("lib/python*/site-packages"), *self.folder.glob("Lib/site-packages"))
        return next(iter(found), self.folder / "lib")

    @property
    def extras(self) -> set[str]:
        """Extras of the project that the stamp lists as installed."""
        return set(self._read_stamp().get("extras", []))

    @property
    def stamped_root(self) -> str | None:
        """The project's folder when the stamp was written, or None without a stamp."""
        return self._read_stamp().get("root")

    def is_ready(self, extras: Iterable[str] = ()) -> bool:
        """Whether everything is installed as the lock says, judged by the stamp alone (a few milliseconds)."""
        if not self.python.exists() or self.stamped_root != str(self.root) or not set(extras) <= self.extras:
            return False
        return self._read_stamp().get("identity") == requirements.identity(self.root, self.extras)

    def is_usable(self) -> bool:
        """Whether its Python, of any version that the course supports, and pip work."""
        answer = self._ask(PIP_QUESTION)
        if answer is None or answer.returncode:
            return False
        prefix, *numbers = answer.stdout.split("\n")[:3]
        return Path(prefix).resolve() == self.folder.resolve() and tuple(map(int, numbers)) >= OLDEST_PYTHON

    def problem(self) -> str | None:
        """Why the lessons cannot run in this environment, or None: every package that they need must be installed."""
        answer = self._ask(PACKAGE_QUESTION, *requirements.names(self.root))
        if answer is None:
            return "its Python does not run"
        if answer.returncode:
            return (answer.stderr.strip().splitlines() or ["its Python does not run"])[-1]
        if not answer.stdout.strip() or not Path(answer.stdout.strip()).resolve().is_relative_to(self.root.resolve()):
            return f"it does not hold the course in {self.root}"
        cut = distributions.unfinished(self.site_packages)
        return f"the installation of {cut[0].name.removesuffix('.dist-info')} was cut" if cut else None

    def call(self, *arguments: str, **variables: str) -> int:
        """Run the environment's Python in the project's folder, with extra environment variables; its exit code."""
        return subprocess.call([self.python, *arguments], cwd=self.root, env=self.variables(**variables))

    def variables(self, **extra: str) -> dict[str, str]:
        """Environment variables of a child process: no settings of other Pythons, the ``.venv``'s commands first."""
        kept = {key: value for key, value in os.environ.items() if key not in IGNORED}
        path = os.pathsep.join([str(self.python.parent), kept.get("PATH", os.defpath)])
        return {
            **kept, "PATH": path, "VIRTUAL_ENV": str(self.folder), "PYTHONNOUSERSITE": "1",
            "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_PLATFORM_DIRS": "1", **extra,
        }  # fmt: skip

    def write_stamp(self, extras: Iterable[str]) -> None:
        """Record that everything is installed with these extras."""
        extras = sorted(extras)
        identity = requirements.identity(self.root, extras)
        self._write_stamp({"identity": identity, "extras": extras, "root": str(self.root)})

    def change_stamp(self, **values: Any) -> None:
        """Change single entries of the stamp; ``identity=None`` says that something is missing."""
        self._write_stamp({**self._read_stamp(), **values})

    def _ask(self, *code: str) -> subprocess.CompletedProcess[str] | None:
        """What the environment's Python answers, without the current folder and the user's packages on its path."""
        try:
            command = [str(self.python), "-I", "-c", *code]
            return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.root)
        except OSError:
            return None

    def _write_stamp(self, content: dict[str, Any]) -> None:
        fresh = self.stamp.with_suffix(".new")
        fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(fresh, self.stamp)

    def _read_stamp(self) -> dict[str, Any]:
        try:
            content = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
