"""Neural-network compression: pruning, quantization, distillation, low-rank factors, coding, search, all measured.

Subpackages are imported on first use, so ``import course_lib`` is quick and does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_SUBPACKAGES = (
    "advisor", "architectures", "assets", "calculator", "cli", "coding", "core", "data", "deploy", "distillation",
    "doctor", "grading", "launch", "learning", "lowrank", "models", "notebook", "pipeline", "plots", "profiling",
    "pruning", "quantization", "report", "search", "storage", "training", "widgets",
)  # fmt: skip

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"course_lib.{name}")
    raise AttributeError(f"module 'course_lib' has no attribute {name!r}; it has {', '.join(_SUBPACKAGES)}")


def __dir__() -> list[str]:
    return sorted(__all__)
