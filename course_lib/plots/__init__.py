"""The figures of the lessons: matplotlib without pyplot, in the colours of the course, each with alternative text.

Every function returns a ``Picture``, a matplotlib ``Figure`` that a notebook displays as a small PNG. The same data
give the same bytes.
"""

from course_lib.plots.coding import rate_distortion
from course_lib.plots.general import bars, curves, size_front
from course_lib.plots.lowrank import energy_curve, filter_banks
from course_lib.plots.profiling import layer_bars, roofline
from course_lib.plots.pruning import accuracy_curves, schedule_curves, seed_intervals, sensitivity_map, weight_histogram
from course_lib.plots.search import accuracy_cost, shared_slices

__all__ = [
    "accuracy_cost", "accuracy_curves", "bars", "curves", "energy_curve", "filter_banks", "layer_bars",
    "rate_distortion", "roofline", "schedule_curves", "seed_intervals", "sensitivity_map", "shared_slices",
    "size_front", "weight_histogram",
]  # fmt: skip
