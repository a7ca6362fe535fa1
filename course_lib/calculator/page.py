"""Claims of the page: its four techniques, their typical figures, and its formulas for the ratio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from course_lib.core.validation import check_fraction, check_positive

PAGE_BYTES = 4  # the page's 70 GB are 17.5 billion fp32 values without any index


@dataclass(frozen=True)
class Technique:
    """One technique of the page, with its typical figures at the default strength.

    Args:
        ratio, quality, speedup, support: times smaller, fraction of the quality kept, times faster, where it runs.
        idea, trade_off: one line each.
        strength: name of the setting (sparsity, bits, …), useful from ``low`` to ``high``.
        page_ratio: strength → times smaller, by the page's formula.
    """

    name: str
    ratio: float
    quality: float
    speedup: float
    support: str
    idea: str
    trade_off: str
    strength: str
    default: float
    low: float
    high: float
    page_ratio: Callable[[float], float]


TECHNIQUES = {
    "pruning": Technique(
        "Neural Network Pruning", 10, 0.70, 10, "Limited (specialized)",
        "Removes the weights that matter least.",
        "Zeros save space only in a sparse format, and time only with kernels that skip them.",
        "sparsity", 0.9, 0.0, 0.999, lambda s: 1 / (1 - s),
    ),
    "quantization": Technique(
        "Model Quantization", 4, 0.95, 4, "Excellent (GPU/CPU)",
        "Stores weights, and perhaps activations, in fewer bits.",
        "Scales and zero-points come on top, and speed needs integer kernels or a model that waits for memory.",
        "bits", 8, 1, 16, lambda bits: 32 / bits,
    ),
    "distillation": Technique(
        "Knowledge Distillation", 10, 0.80, 10, "Universal",
        "Trains a smaller model to answer like the larger one.",
        "Small and fast on any machine, for the price of a training run.",
        "student size", 0.1, 0.001, 1.0, lambda f: 1 / f,
    ),
    "low_rank": Technique(
        "Low-Rank Factorization", 3, 0.92, 2.5, "Good (optimized BLAS)",
        "Writes a matrix as the product of two thin ones.",
        "Smaller only below half the rank, and trained weights are rarely of low rank.",
        "rank", 1 / 6, 0.001, 1.0, lambda f: 1 / (2 * f),
    ),
}  # fmt: skip


def check_strength(technique: str, strength: float) -> float:
    """Return ``strength`` if it is allowed for the technique, else raise ``ValueError``."""
    name = f"strength ({TECHNIQUES[technique].strength})"
    if technique == "pruning":
        return check_fraction(name, strength)
    if technique == "quantization":
        if not 1 <= strength <= 16 or strength != round(strength):
            raise ValueError(f"{name} must be a whole number from 1 to 16, got {strength}")
        return float(strength)
    check_positive(name, strength)
    return check_fraction(name, strength, below_one=False)
