"""The row that every lesson ends with: stored bytes, quality, work, time and memory, against the baseline.

``compare(before, after, on=split)`` stores each model, loads the file, and measures what came out of it, so that a row
says what somebody would get who downloads the file.
"""

from course_lib.report.comparison import Comparison, compare, measure
from course_lib.report.rows import HEADLINE, SETTINGS, Row, Setting
from course_lib.report.statistics import paired_bootstrap

__all__ = ["HEADLINE", "SETTINGS", "Comparison", "Row", "Setting", "compare", "measure", "paired_bootstrap"]
