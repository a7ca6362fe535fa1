"""Schedules: sparsity as a function of the training step."""

from __future__ import annotations

from collections.abc import Callable

from course_lib.core.validation import check_fraction, check_positive

Schedule = Callable[[float, float, float, float], float]


def cubic_sparsity(step: float, total_steps: float, initial: float, final: float) -> float:
    """Sparsity after ``step`` of ``total_steps``: steep at first, while many weights are redundant, then flat.

    s_t = s_f + (s_i - s_f) (1 - t / n)³; exactly ``initial`` at step 0 and ``final`` from ``total_steps`` on.

    Raises:
        ValueError: if a sparsity is outside [0, 1), ``final`` < ``initial``, or a step is out of range.

    Source: Zhu and Gupta, To prune, or not to prune, 2017.
    """
    remaining = 1 - _progress(step, total_steps, initial, final)
    return _between(initial, final, 1 - remaining**3)


def linear_sparsity(step: float, total_steps: float, initial: float, final: float) -> float:
    """Sparsity that grows at a constant rate; arguments and errors as in ``cubic_sparsity``."""
    return _between(initial, final, _progress(step, total_steps, initial, final))


def _progress(step: float, total_steps: float, initial: float, final: float) -> float:
    check_positive("total_steps", total_steps)
    check_fraction("initial", initial)
    check_fraction("final", final)
    if final < initial:
        raise ValueError(f"final must be at least initial ({initial}), got {final}")
    if step < 0:
        raise ValueError(f"step must be at least 0, got {step}")
    return min(1.0, step / total_steps)


def _between(initial: float, final: float, progress: float) -> float:
    # Rounding must not change the ends, nor carry a value past them.
    return min(final, initial + (final - initial) * progress) if progress < 1 else final
