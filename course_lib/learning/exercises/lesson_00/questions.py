"""The question of lesson 00, a first use of check and hint; its point is not counted."""

from __future__ import annotations

from typing import Any

import torch

from course_lib.learning.answer import Answer
from course_lib.learning.expect import draw, expect_equal
from course_lib.learning.questions import probe, question


@question("00.1")
def check_bytes(answer: Answer) -> None:
    """Whole bytes for several counts and widths."""
    for count, bits in [(8, 32), (10, 16), (1_000_000, 8), (2, 4)]:
        given = answer(count, bits)
        advice = "eight bits make a byte" if given == count * bits else "every number takes `bits` bits"
        expect_equal("bytes", given, count * bits // 8, hint=advice)


@probe("00.1")
def probe_bytes(answer: Answer, generator: torch.Generator) -> Any:
    """Bytes for random counts."""
    counts = draw(generator, 1, 9_999, 5)
    return [answer(8 * count, bits) for count in counts for bits in (4, 8, 16, 32)]
