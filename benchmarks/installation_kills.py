"""An installation by start.py that is killed at random moments works, or is completed by the next start.

A stand-in project has the launcher of the course and about thirty real packages, but not torch: the kernel of the
notebooks and NumPy, so that an installation takes seconds and not gigabytes. pip downloads the packages once.

Half of the kills hit a first installation, half an update to another NumPy; every other kill hits start.py alone, so
that its pip goes on, the rest hit all its processes. After each kill:

* an environment that was updated must still run the ``course`` command and NumPy, and start.py without network;
* the next start must complete the installation, with every file of every package in place.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import Results, parser

from course_lib.launch import distributions, switching
from course_lib.launch.environment import Environment

ROOT = Path(__file__).resolve().parents[1]
SEED = 0
PACKAGES = ("ipykernel", "jupyter-client", "pyyaml", "setuptools")
OLD, NEW = "numpy==2.3.3", "numpy==2.3.4"
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "stand-in"
version = "0.1"
dependencies = ["numpy", "ipykernel", "jupyter-client", "pyyaml"]
[project.scripts]
course = "course_lib.cli.command:main"
[tool.setuptools.packages.find]
include = ["course_lib*"]
"""
COMMAND = "import sys, numpy\ndef main():\n    print('numpy', numpy.__version__, numpy.ones(3).sum())\n"


def main() -> None:
    """Print one row per kill, and write the results."""
    arguments = parser(__doc__, "4 kills")
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--wheels", type=Path, help="folder for the packages; a temporary one by default")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wheels = chosen.wheels or Path(name, "wheels")
        if not wheels.is_dir():
            download(wheels)
        results = Results(__doc__, chosen)
        rows = Kills(Path(name), wheels).run(4 if chosen.quick else chosen.kills)
        results.table("kills", rows)
        results.table("summary", [summary(rows)])
        results.save()


def download(wheels: Path) -> None:
    """Fetch the packages with both versions of NumPy."""
    for wanted in ((*PACKAGES, OLD), (*PACKAGES, NEW)):
        command = [sys.executable, "-m", "pip", "download", "--only-binary", ":all:", "-q", "-d", str(wheels), *wanted]
        subprocess.run(command, check=True)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many kills left a working environment, and how many were completed by the next start."""
    updates = [row for row in rows if row["installation"] == "update"]
    return {
        "kills": len(rows),
        "of_updates": len(updates),
        "updates_that_still_worked": sum(row["works_after_kill"] for row in updates),
        "updates_that_started_offline": sum(row["starts_offline"] for row in updates),
        "completed_by_next_start": sum(row["completed"] for row in rows),
    }


class Kills:
    """Stand-in projects in ``folder`` whose packages are in ``wheels``."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "JUPYTER", "PIP"))}
        self.offline = kept | {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        self.online = self.offline | {"PIP_FIND_LINKS": str(wheels.resolve())}

    def run(self, kills: int) -> list[dict[str, Any]]:
        """Undisturbed installations for their duration, then the kills."""
        installed = self.project("installed")
        seconds = {"first": self.timed(installed)}
        seconds["update"] = self.timed(self.updated(installed, "duration"))
        generator, rows = random.Random(SEED), []
        for number in range(kills):
            kind = ("first", "update")[number % 2]
            moment, row = generator.uniform(0, seconds[kind]), None
            while row is None:  # an installation that was done by then, on a machine that is idler now, is no kill
                project = self.project("killed") if kind == "first" else self.updated(installed, "killed")
                row = self.kill(project, moment, number // 2 % 2 == 0)
                moment *= 0.7
                shutil.rmtree(project)
            rows.append({"kill": number + 1, "installation": kind, **row})
            print(json.dumps(rows[-1]), flush=True)
        return rows

    def project(self, name: str) -> Path:
        """A new stand-in project, not installed."""
        root = self.folder / name
        for part in ("start.py", "course_lib/__init__.py", "course_lib/assets/__init__.py"):
            (root / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, root / part)
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "course_lib" / "launch", root / "course_lib" / "launch", ignore=unwanted)
        (root / "course_lib" / "assets" / "manifest.json").write_text("{}")
        (root / "course_lib" / "cli").mkdir()
        (root / "course_lib" / "cli" / "__init__.py").touch()
        (root / "course_lib" / "cli" / "command.py").write_text(COMMAND)
        (root / "course_lib" / "cli" / "__main__.py").write_text("from course_lib.cli.command import main\nmain()\n")
        (root / "pyproject.toml").write_text(PROJECT)
        (root / "requirements.lock").write_text(f"{OLD}\n")
        return root

    def updated(self, installed: Path, name: str) -> Path:
        """A copy of an installed project that starts, and whose lock then asks for another NumPy."""
        root = self.folder / name
        subprocess.run(["cp", "-a", installed, root], check=True)
        assert self.start(root, self.offline)
        (root / "requirements.lock").write_text(f"{NEW}\n")
        return root

    def timed(self, root: Path) -> float:
        """Seconds that an undisturbed installation takes."""
        began = time.perf_counter()
        assert self.start(root, self.online)
        return time.perf_counter() - began

    def kill(self, root: Path, moment: float, whole_group: bool) -> dict[str, Any] | None:
        """Kill an installation after ``moment`` seconds; what works then, and whether the next start completes it.

        None if it was complete before the kill.
        """
        command = [sys.executable, str(root / "start.py"), "run"]
        process = subprocess.Popen(command, env=self.online, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(moment)
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        if Environment(root).is_ready():
            return None
        row: dict[str, Any] = {
            "after_seconds": round(moment, 2),
            "processes": "all" if whole_group else "start.py",
            **self.state(root),
        }
        row["works_after_kill"] = self.works(root)
        began = time.perf_counter()
        row["starts_offline"] = self.start(root, self.offline) if row["works_after_kill"] else False
        row["completed"] = self.start(root, self.online) and self.is_complete(root)
        return {**row, "seconds_to_complete": round(time.perf_counter() - began, 1)}

    def state(self, root: Path) -> dict[str, Any]:
        """How far the installation was."""
        built = [new for new in switching.slots(Environment(root)) if new.folder.exists()]
        packages = [len(list(new.site_packages.glob("*.dist-info"))) for new in built]
        cut = [len(distributions.incomplete(new.site_packages)) for new in built]
        return {"linked": (root / ".venv").exists(), "packages_beside": sum(packages), "incomplete_beside": sum(cut)}

    def works(self, root: Path) -> bool:
        """Whether the ``course`` command of the environment runs and finds NumPy."""
        command = root / ".venv" / "bin" / "course"
        if not command.exists():
            return False
        answer = subprocess.run([command], env=self.offline, capture_output=True, text=True, check=False)
        return answer.returncode == 0 and answer.stdout.endswith(" 3.0\n")

    def start(self, root: Path, variables: dict[str, str]) -> bool:
        """Whether start.py runs the command of the stand-in."""
        command = [sys.executable, str(root / "start.py"), "run"]
        answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        return answer.returncode == 0 and answer.stdout.endswith(" 3.0\n")

    def is_complete(self, root: Path) -> bool:
        """Whether the environment is that of the lock, with all files of all packages, and pip finds no conflict."""
        environment = Environment(root)
        numpy = (root / "requirements.lock").read_text().strip().replace("==", "-")
        check = subprocess.run([environment.python, "-m", "pip", "check"], capture_output=True, check=False)
        return (
            self.works(root)
            and (environment.site_packages / f"{numpy}.dist-info").is_dir()
            and not distributions.incomplete(environment.site_packages)
            and check.returncode == 0
            and [path.name for path in (root / switching.FOLDER).iterdir() if path.is_dir()]
            == [environment.folder.resolve().name]
        )


if __name__ == "__main__":
    main()
