"""The compression calculator: claims about a technique beside estimates from stored bytes and the roofline.

"The page" is the article whose claims the course tests. Every figure is marked *page claim*, *estimate* or *measured*.
"""

from __future__ import annotations

from course_lib.calculator.estimates import Estimate, estimate
from course_lib.calculator.hardware import HARDWARE, Hardware
from course_lib.calculator.measurements import measured
from course_lib.calculator.outcomes import Figure, Outcome
from course_lib.calculator.page import TECHNIQUES, Technique
from course_lib.calculator.verdicts import Verdict, judged, verdicts

__all__ = [
    "HARDWARE", "TECHNIQUES", "Estimate", "Figure", "Hardware", "Outcome", "Technique", "Verdict", "estimate", "judged",
    "measured", "verdicts",
]  # fmt: skip
