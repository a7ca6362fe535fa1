"""Rate–distortion optimised quantization: levels that minimise D + λR, not the error alone.

D is the squared error of the weights, weighted with their sensitivity; R is the number of bits of the levels.

Sources: Sullivan and Wiegand, Rate-Distortion Optimization for Video Compression, 1998 (D + λR); Karczewicz, Ye and
Chong, Rate Distortion Optimized Quantization, 2008; Schwarz et al., Hybrid Video Coding with Trellis-Coded
Quantization, 2019, and ISO/IEC 15938-17 (dependent quantization).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.coding.uniform import entropy_bits, quantize_levels
from course_lib.core.validation import check_choice

Bits = Callable[[Tensor], Tensor]
TRANSITIONS = {
    4: ((0, 2), (2, 0), (1, 3), (3, 1)),
    8: ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)),
}
"""Number of states → next state after an even and after an odd level, for each state."""
ODD_STATES = {4: (2, 3), 8: (1, 3, 5, 7)}
"""The states that use the grid Q1; the others use Q0."""


def empirical_bits(levels: Tensor) -> Bits:
    """Ideal code length of a level, ``-log2`` of its share in ``levels``; one that does not occur counts as half once.

    Returns:
        Function from integer levels of any shape to bits of the same shape.
    """
    found, counts = levels.flatten().unique(return_counts=True)
    lowest = int(found[0]) if found.numel() else 0
    table = torch.full((int(found[-1]) - lowest + 1,) if found.numel() else (1,), 0.5, dtype=torch.float64)
    table[found.long() - lowest] = counts.double()
    lengths = -(table / table.sum()).log2()
    worst = float(-(0.5 / table.sum()).log2())

    def bits(values: Tensor) -> Tensor:
        places = values.long() - lowest
        known = (places >= 0) & (places < len(lengths))
        return torch.where(known, lengths[places.clamp(0, len(lengths) - 1)], worst)

    return bits


def rdoq(weight: Tensor, step: float, lam: float, bits: Bits, sensitivity: Tensor | float = 1.0) -> Tensor:
    """Levels (int32) that minimise ``sensitivity · (w - step · q)² + λ · bits(q)``, weight by weight.

    The candidates are the nearest level, the next one towards zero, and zero.

    Args:
        weight: any shape.
        lam: λ, error per bit; 0 gives the nearest levels.
        bits: bits of a level, for example from ``empirical_bits``.
        sensitivity: in the shape of ``weight``, such as the Fisher information.

    Raises:
        ValueError: if λ is negative, or as ``quantize_levels``.
    """
    if not lam >= 0:
        raise ValueError(f"lam must be at least 0, got {lam}")
    nearest = quantize_levels(weight, torch.tensor(step))
    smaller = (nearest.abs() - 1).clamp(min=0) * nearest.sign()
    candidates = torch.stack([nearest, smaller, torch.zeros_like(nearest)])
    distortion = sensitivity * (weight - candidates * step).double().square()
    best = (distortion + lam * bits(candidates)).argmin(dim=0, keepdim=True)
    return candidates.gather(0, best)[0]


@dataclass(frozen=True)
class RatePoint:
    """Levels with their mean squared error and bits per weight."""

    step: float
    lam: float
    levels: Tensor
    error: float
    bits: float


def rdoq_point(weight: Tensor, step: float, lam: float, rounds: int = 3) -> RatePoint:
    """RDOQ of a tensor whose code is that of its own levels: the code and the levels are found in turns."""
    levels = quantize_levels(weight, torch.tensor(step))
    for _ in range(rounds if lam else 0):
        levels = rdoq(weight, step, lam, empirical_bits(levels))
    error = float((weight - levels * step).double().square().mean())
    return RatePoint(step, lam, levels, error, entropy_bits(levels) / max(levels.numel(), 1))


def dependent_values(levels: Tensor, step: float, states: int = 4) -> Tensor:
    """The values of ``levels`` ``(n,)`` under dependent quantization: what the decoder does.

    The grid Q0 holds the even multiples of ``step``, Q1 the odd ones and zero: level q means ``2 q step`` in Q0 and
    ``(2 q - sign q) step`` in Q1. The parity of each level selects the state of the next.
    """
    next_state = TRANSITIONS[check_choice("states", states, tuple(TRANSITIONS))]
    values, state = [], 0
    for q in levels.tolist():
        values.append((2 * q - (_sign(q) if state in ODD_STATES[states] else 0)) * step)
        state = next_state[state][q & 1]
    return torch.tensor(values)


def dependent_quantize(weight: Tensor, step: float, lam: float, bits: Bits, states: int = 4) -> Tensor:
    """Levels (int32, ``(n,)``) under dependent quantization that minimise D + λR: the Viterbi algorithm.

    Args:
        weight: ``(n,)``; one vector, because the state goes from weight to weight.

    Raises:
        ValueError: if ``states`` is neither 4 nor 8, or λ is negative.

    Source: Viterbi, Error Bounds for Convolutional Codes, 1967; Schwarz et al., 2019.
    """
    next_state = TRANSITIONS[check_choice("states", states, tuple(TRANSITIONS))]
    if not lam >= 0:
        raise ValueError(f"lam must be at least 0, got {lam}")
    candidates, costs = zip(*(_candidates(weight, step, lam, bits, odd) for odd in (False, True)), strict=True)
    total = torch.full((states,), torch.inf, dtype=torch.float64)
    total[0] = 0
    steps: list[tuple[list[int], list[int]]] = []
    for n in range(len(weight)):
        best, came_from, chosen = [float("inf")] * states, [0] * states, [0] * states
        for state, so_far in enumerate(total.tolist()):
            grid = int(state in ODD_STATES[states])
            for q, cost in zip(candidates[grid][n].tolist(), costs[grid][n].tolist(), strict=True):
                after = next_state[state][q & 1]
                if so_far + cost < best[after]:
                    best[after], came_from[after], chosen[after] = so_far + cost, state, q
        total = torch.tensor(best, dtype=torch.float64)
        steps.append((came_from, chosen))
    return _trace_back(int(total.argmin()), steps) if steps else torch.zeros(0, dtype=torch.int32)


def _candidates(weight: Tensor, step: float, lam: float, bits: Bits, odd: bool) -> tuple[Tensor, Tensor]:
    """Levels that are tried for each weight, ``(n, 4)``: three around it and zero; their costs D + λR on one grid."""
    centre = (weight / (2 * step)).round().int()
    q = torch.stack([centre - 1, centre, centre + 1, torch.zeros_like(centre)], dim=1)
    values = (2 * q - (q.sign() if odd else 0)) * step
    return q, (weight[:, None] - values).double().square() + lam * bits(q)


def _trace_back(state: int, steps: list[tuple[list[int], list[int]]]) -> Tensor:
    levels = []
    for came_from, chosen in reversed(steps):
        levels.append(chosen[state])
        state = came_from[state]
    return torch.tensor(levels[::-1], dtype=torch.int32)


def _sign(q: int) -> int:
    return (q > 0) - (q < 0)
