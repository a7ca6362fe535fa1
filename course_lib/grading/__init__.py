"""Build the exercises, check one's own notebook, grade a class.

``build`` makes exercises from solutions, ``check`` gives a learner the points of her own notebook.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_lib.grading.selfcheck import NotebookResult, check, summary

# When jsonschema is imported it builds a grammar for international addresses, which takes longer than all else that
# a run needs. No notebook is checked for such addresses, so it is told that the grammar is not installed.
_HIDDEN = {} if "rfc3987_syntax" in sys.modules else {"rfc3987_syntax": None}
sys.modules.update(_HIDDEN)  # type: ignore[arg-type]

from course_lib.grading.building import build  # noqa: E402
from course_lib.grading.lint import LintError  # noqa: E402

for _name in _HIDDEN:
    del sys.modules[_name]

__all__ = ["LintError", "NotebookResult", "build", "check", "summary"]


def __getattr__(name: str) -> Any:
    """What runs notebooks is imported at its first use, for the grader's own processes need none of it."""
    if name in ("NotebookResult", "check", "summary"):
        from course_lib.grading import selfcheck

        return getattr(selfcheck, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
