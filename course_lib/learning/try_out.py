"""The tiny question of lesson 00, on which a learner tries out check and hint; it counts for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from course_lib.learning.expect import expect_equal
from course_lib.learning.questions import probe, question


@question(
    "00.1",
    points=1,
    minutes=1,
    difficulty=1,
    title="Bytes of a pile of numbers",
    hints=(
        "Count the bits first: how many does one number take, and how many numbers are there?",
        "A byte is eight bits.",
        "For 10 numbers of 16 bits: 160 bits, and 20 bytes. Which two steps lead there?",
    ),
)
def check_bytes(answer: Callable[..., Any]) -> None:
    """Whole bytes of a few piles."""
    for count, bits in [(8, 32), (10, 16), (1_000_000, 8), (2, 4)]:
        given = answer(count, bits)
        advice = "eight bits make a byte" if given == count * bits else "every number takes `bits` bits"
        expect_equal("bytes", given, count * bits // 8, hint=advice)


@probe("00.1")
def probe_bytes(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Bytes of random piles."""
    counts = torch.randint(1, 10_000, (5,), generator=generator).tolist()
    return [answer(8 * count, bits) for count in counts for bits in (4, 8, 16, 32)]
