"""The table that every lesson ends with: stored bytes, quality, work, time and memory against the baseline.

``compare(before, after, on=split)`` saves each model, loads the file and measures the loaded model: a row holds for
everyone who downloads the file.
"""

from course_lib.report.comparison import Comparison, compare, measure
from course_lib.report.rows import HEADLINE, SETTINGS, Row, Setting
from course_lib.report.statistics import paired_bootstrap

__all__ = ["HEADLINE", "SETTINGS", "Comparison", "Row", "Setting", "compare", "measure", "paired_bootstrap"]
