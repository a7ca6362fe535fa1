"""Optional extras of the course: which of their packages are missing, and the command that installs them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

COURSE = "compression-course"


class ExtraMissing(ImportError):
    """A command needs an extra that is not installed; the message is one line with the command that installs it."""


def packages(extra: str) -> list[str]:
    """Names of the packages that the extra adds, as the installed course declares them."""
    try:
        lines = requires(COURSE) or []
    except PackageNotFoundError:
        return []
    marker = re.compile(rf"""extra\s*==\s*['"]{re.escape(extra)}['"]""")
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if marker.search(line)]


def missing(extra: str) -> list[str]:
    """Names of the extra's packages that are not installed."""
    return [name for name in packages(extra) if not _is_installed(name)]


def remedy(extra: str) -> str:
    """The command that installs the extra."""
    return f'.venv/bin/python -m pip install -e ".[{extra}]" -c requirements.lock'


def check_installed(extra: str) -> None:
    """Raise ``ExtraMissing`` if a package of the extra is not installed."""
    if absent := missing(extra):
        raise ExtraMissing(
            f"the extra [{extra}] is not installed ({', '.join(absent)} missing); install it with: {remedy(extra)}"
        )


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
