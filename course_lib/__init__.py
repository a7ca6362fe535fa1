"""Neural-network compression, measured honestly: prune, quantize, distil, factorize, and see what it costs.

Rooms are imported when they are first used, so ``import course_lib`` is quick and does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = (
    "architectures", "assets", "calculator", "cli", "core", "data", "distillation", "doctor", "grading", "launch",
    "learning", "lowrank", "models", "notebook", "plots", "profiling", "pruning", "quantization", "report", "storage",
    "training", "widgets",
)  # fmt: skip

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"course_lib.{name}")
    raise AttributeError(f"module 'course_lib' has no attribute {name!r}; it has {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return sorted(__all__)
