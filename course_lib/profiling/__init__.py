"""Measurements: work (MACs), time, peak memory, and the limits of this machine.

Counts are exact, times are medians on a real runtime, memory is the peak of a fresh process.
"""

from course_lib.profiling.counting import count_macs, count_nonzeros, count_parameters
from course_lib.profiling.deployed import Deployed, intermediate_values
from course_lib.profiling.export import export_onnx
from course_lib.profiling.hardware import Machine, machine
from course_lib.profiling.layer_table import layers
from course_lib.profiling.memory import PeakMemory, peak_memory
from course_lib.profiling.roofline import Roofline, roofline
from course_lib.profiling.runtimes import Runner, RuntimeMismatchError, eager, onnx
from course_lib.profiling.timing import Latency, interleave

__all__ = [
    "Deployed", "Latency", "Machine", "PeakMemory", "Roofline", "Runner",
    "RuntimeMismatchError", "count_macs", "count_nonzeros", "count_parameters",
    "eager", "export_onnx", "interleave", "intermediate_values", "layers", "machine", "onnx", "peak_memory", "roofline",
]  # fmt: skip
