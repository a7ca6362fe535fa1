"""Processor, memory and GPU of this machine."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

FEATURES = {
    "avx2": ("avx2",),
    "avx512": ("avx512f", "avx512_f"),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "amx": ("amx_tile",),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
}
LABELS = {"avx2": "AVX2", "avx512": "AVX-512", "vnni": "VNNI", "amx": "AMX", "bf16": "BF16"}


@dataclass(frozen=True)
class Machine:
    """Hardware that determines how fast a model runs.

    Args:
        cpu: name of the processor.
        cores: physical cores that this process may use.
        memory_gb: installed memory in GB (10⁹ bytes).
        avx2: vectors of 8 floats; avx512: of 16 floats.
        vnni: int8 dot products without saturation.
        amx: int8 and bf16 matrix tiles.
        bf16: arithmetic on 16-bit brain floats.
        gpu: name of the first GPU that torch can use, or ``""``.
    """

    cpu: str
    cores: int
    memory_gb: float
    avx2: bool
    avx512: bool
    vnni: bool
    amx: bool
    bf16: bool
    gpu: str = ""

    def __str__(self) -> str:
        features = [label for name, label in LABELS.items() if getattr(self, name)]
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}"
        return ", ".join([self.cpu, cores, f"{self.memory_gb:.0f} GB", *features, self.gpu or "no GPU"])


@cache
def machine() -> Machine:
    """The hardware of this machine, looked up once per process."""
    features = _cpu_features()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    if not gpu and torch.backends.mps.is_available():
        gpu = "Apple GPU (MPS)"
    return Machine(
        cpu=_cpu_name(),
        cores=_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        gpu=gpu,
        **{name: any(flag in features for flag in flags) for name, flags in FEATURES.items()},
    )


def _cores() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _cpu_name() -> str:
    name = _cpuinfo().get("model name") or platform.processor() or platform.machine()
    return " ".join(name.split()) or "unknown CPU"


def _cpu_features() -> set[str]:
    """Names of instruction sets, from torch on every system and from ``/proc/cpuinfo`` on Linux."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    found = {name for name, present in capabilities.items() if present is True}
    found |= set(_cpuinfo().get("flags", "").split())
    if "AVX" in torch.backends.cpu.get_cpu_capability():
        found |= {"avx2"} | ({"avx512f"} if "512" in torch.backends.cpu.get_cpu_capability() else set())
    return found


@cache
def _cpuinfo() -> dict[str, str]:
    if sys.platform != "linux":
        return {}
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
