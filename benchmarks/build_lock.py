"""Write requirements.lock from the installed versions of every package that pyproject.toml needs, directly or not.

    python benchmarks/build_lock.py
    python benchmarks/build_lock.py --quick      # compare the file with what is installed, write nothing

Run it in an environment with all extras. CUDA libraries and triton are left out, because torch itself requires their
exact versions; packages of other platforms are listed with their marker.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from common import Results, parser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_lib.core.atomic_write import write_atomically

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
UNLOCKED_EXTRAS = ("peers",)
PINNED_BY_TORCH = ("nvidia-", "cuda-", "triton")
MARKERS = {"pexpect": 'sys_platform != "win32"', "ptyprocess": 'sys_platform != "win32"'}
OTHER_PLATFORMS = {
    'appnope==1.0.0 ; sys_platform == "darwin"',
    'colorama==0.4.6 ; sys_platform == "win32"',
    'pywinpty==3.1.2 ; sys_platform == "win32"',
}
HEADER = """\
# Exact versions of everything that the course installs (learner, classroom, dev), used by start.py as constraints.
# Written by: python benchmarks/build_lock.py
"""


def project_requirements() -> list[Requirement]:
    """Requirements in pyproject.toml with all extras but ``peers``, which is for benchmarks only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name not in UNLOCKED_EXTRAS]
    return [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Canonical name → installed version of every package that the requirements need on this machine."""
    found: dict[str, str] = {}
    seen, waiting = set(), list(requirements)
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen or name.startswith(PINNED_BY_TORCH):
            continue
        seen.add((name, extras))
        try:
            found[name] = version(name)
        except PackageNotFoundError as error:
            raise SystemExit(f"{name} is not installed here; install the project with all extras first") from error
        waiting += dependencies(name, extras)
    return found


def dependencies(name: str, extras: frozenset[str]) -> list[Requirement]:
    """Requirements of an installed package on this machine, with the given extras."""
    needed = [Requirement(line) for line in distribution(name).requires or []]
    environments = [{"extra": extra} for extra in ("", *sorted(extras))]
    return [need for need in needed if not need.marker or any(map(need.marker.evaluate, environments))]


def lock_lines(found: dict[str, str]) -> list[str]:
    """One sorted line per package, with a marker where one platform does not have it."""
    here = {f"{name}=={number}{' ; ' + MARKERS[name] if name in MARKERS else ''}" for name, number in found.items()}
    return sorted(here | OTHER_PLATFORMS)


def main() -> None:
    """Write the lock file, and print how it differs from the one before."""
    options = parser(__doc__, quick="compare the file with what is installed, write nothing").parse_args()
    results = Results(__doc__, options)
    lines = lock_lines(closure(project_requirements()))
    locked = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    if not options.quick:
        write_atomically(LOCK, HEADER + "\n".join(lines) + "\n")
    changes = [{"change": "new", "package": line} for line in sorted(set(lines) - set(locked))]
    changes += [{"change": "gone", "package": line} for line in sorted(set(locked) - set(lines))]
    results.table("packages", [{"installed here": len(lines), "in the file before": len(locked)}])
    results.table("changes", changes)
    results.save()


if __name__ == "__main__":
    main()
