"""Judge the value of an answer without arguments: the probe of its question runs on it, with the course's code.

The value comes as text that the sandboxed kernel printed. It is plain data, but it can make a probe compute without
end; ``fork_server.judge`` therefore calls this in a child process with limits.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from course_lib.grading import probe_runtime

CHARACTER_LIMIT = 10_000


def judge(module: str, probe: str, printed: str, seed: int, line: str, floors: Collection[int]) -> bool:
    """Whether a printed value makes a probe give ``line``.

    Args:
        module: dotted name of the module with the function ``probe``.
        line: what the right answer gives for ``seed``; ``floors`` see ``probe_runtime``.
    """
    if len(printed) > CHARACTER_LIMIT:
        return False
    try:
        value = probe_runtime.untagged(json.loads(printed))
        returned = probe_runtime.values(module, probe, lambda: value, seed)
        return probe_runtime.Writer(floors).write(returned) == line
    except Exception:
        return False
