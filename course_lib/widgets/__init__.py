"""Interactive panels.

``Panel`` wires a pure ``compute``, a pure ``render`` and controls; ``charts`` draws; the functions that end in
``_panel`` make the panels of the lessons.
"""

from __future__ import annotations

from course_lib.widgets.bits import bits_panel
from course_lib.widgets.bits_and_groups import few_bits_panel
from course_lib.widgets.calculator import calculator_panel
from course_lib.widgets.clipping import clipping_panel
from course_lib.widgets.components import Number, Verdict, numbers_row, side_by_side, table
from course_lib.widgets.controls import choice, log_slider, slider, toggle
from course_lib.widgets.distillation import distillation_panel
from course_lib.widgets.entropy_coders import coder_panel
from course_lib.widgets.gptq_player import gptq_panel
from course_lib.widgets.panel import Panel
from course_lib.widgets.qat import aware_panel
from course_lib.widgets.ranks import rank_panel
from course_lib.widgets.rate_distortion import rate_panel
from course_lib.widgets.roofline import roofline_panel
from course_lib.widgets.sparsity import sparsity_panel
from course_lib.widgets.student_size import stage_panel
from course_lib.widgets.subnets import subnet_panel
from course_lib.widgets.widths import width_panel

__all__ = [
    "Number", "Panel", "Verdict", "aware_panel", "bits_panel", "calculator_panel", "choice", "clipping_panel",
    "coder_panel", "distillation_panel", "few_bits_panel", "gptq_panel", "log_slider", "numbers_row", "rank_panel",
    "rate_panel", "roofline_panel", "side_by_side", "slider", "sparsity_panel", "stage_panel", "subnet_panel", "table",
    "toggle", "width_panel",
]  # fmt: skip
