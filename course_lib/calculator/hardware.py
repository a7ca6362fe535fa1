"""Hardware presets of the calculator, with the figures of public datasheets.

Peaks are dense (no 2:4 sparsity) multiply-adds, two FLOP each, in TFLOP/s (TOP/s for int8); bandwidth is that of the
memory that holds the weights. A dtype without a faster unit of its own runs at the fp32 peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from course_lib.core.validation import check_choice

THIS_MACHINE = "this_machine"


@dataclass(frozen=True)
class Hardware:
    """Peak and bandwidth of a machine, which bound the speed of a layer.

    Args:
        name: as displayed.
        peaks: dtype → TFLOP/s; ``"fp32"`` is always there.
        bandwidth: GB/s.
        memory: GB that can hold weights.
        source: document that states the figures.
    """

    name: str
    peaks: Mapping[str, float]
    bandwidth: float
    memory: float
    source: str

    def peak(self, dtype: str) -> float:
        """Peak in TFLOP/s for a dtype; the fp32 peak where the machine has no unit for it."""
        return self.peaks.get(dtype, self.peaks["fp32"])


HARDWARE = {
    # 2 cores × 3.0 GHz × 32 FLOP a cycle (one 512-bit FMA unit); VNNI does 4 times as many int8 operations.
    "cpu_laptop": Hardware(
        "laptop CPU, 2 cores", {"fp32": 0.192, "int8": 0.768}, 51.2, 8,
        "Intel Core i3-1115G4 datasheet: 2 cores, 3.0 GHz, AVX-512, 2 × DDR4-3200",
    ),
    # 56 cores × 2.0 GHz × 64 FLOP a cycle (two 512-bit FMA units), twice that in fp16; AMX: 2048 int8 operations.
    "cpu_server": Hardware(
        "server CPU, 56 cores", {"fp32": 7.17, "fp16": 14.3, "int8": 229.0}, 307.2, 512,
        "Intel Xeon Platinum 8480+ datasheet: 56 cores, 2.0 GHz, AVX-512, AMX, 8 × DDR5-4800",
    ),
    "rtx_4090": Hardware(
        "RTX 4090", {"fp32": 82.6, "fp16": 165.2, "int8": 660.6}, 1008, 24,
        "NVIDIA Ada GPU architecture whitepaper, 2022 (fp16 with fp32 accumulation)",
    ),
    "a100": Hardware(
        "A100 80 GB", {"fp32": 19.5, "fp16": 312.0, "int8": 624.0}, 2039, 80,
        "NVIDIA A100 Tensor Core GPU datasheet, SXM, 2021",
    ),
    "h100": Hardware(
        "H100 80 GB", {"fp32": 67.0, "fp16": 989.0, "int8": 1979.0}, 3350, 80,
        "NVIDIA H100 Tensor Core GPU datasheet, SXM, 2023",
    ),
    # Apple publishes the int8 figure only: half of it is taken for fp16, in which it also runs fp32 models.
    "phone_npu": Hardware(
        "phone NPU", {"fp32": 17.5, "fp16": 17.5, "int8": 35.0}, 51.2, 8,
        "Apple A17 Pro, press release of September 2023: 35 TOP/s; LPDDR5-6400 on 64 bits",
    ),
}  # fmt: skip


def find(name: str) -> Hardware:
    """A preset by its key, or ``"this_machine"``, measured on first use.

    Raises:
        ValueError: if the name is unknown.
    """
    check_choice("hardware", name, (*HARDWARE, THIS_MACHINE))
    return _this_machine() if name == THIS_MACHINE else HARDWARE[name]


def _this_machine() -> Hardware:
    from course_lib import profiling

    machine, roofline = profiling.machine(), profiling.roofline()
    peak = roofline.peak_gflops / 1000
    # VNNI and AMX do at least four int8 operations in the time of one fp32 operation; without them it is one.
    peaks = {"fp32": peak, "int8": 4 * peak if machine.vnni or machine.amx else peak}
    return Hardware("this machine", peaks, roofline.bandwidth_gbs, machine.memory_gb, "measured by profiling.roofline")
