"""Ranks by energy and by size, and the break-even rank.

A matrix ``(m, n)`` holds ``m·n`` parameters, its two factors of rank r ``r·(m + n)``. They are smaller only for
``r < m·n / (m + n)``, which is half of the side of a square matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.architectures.factorized import factored, largest_ranks
from course_lib.core.validation import check_choice, check_fraction, check_positive


def break_even_rank(rows: int, columns: int) -> int:
    """The largest rank at which two factors hold fewer parameters than the matrix ``(rows, columns)``; may be 0.

    Raises:
        ValueError: if a size is not positive.
    """
    check_positive("rows", rows)
    check_positive("columns", columns)
    return math.ceil(rows * columns / (rows + columns)) - 1


def tucker_share(out_channels: int, in_channels: int, kernel: float = 3, size: float = 1.0) -> float:
    """The share s of both channel counts at which Tucker-2 factors hold ``size`` times the convolution's parameters.

    With ranks ``s·in`` and ``s·out`` the factors hold ``s·in² + k²·s²·in·out + s·out²`` parameters, the convolution
    ``k²·in·out``: a quadratic equation in s. With ``size=1`` s is the break-even share: 0.895 for 512 → 512 channels
    and k = 3.

    Raises:
        ValueError: if an argument is not positive.
    """
    arguments = {"out_channels": out_channels, "in_channels": in_channels, "kernel": kernel, "size": size}
    for name, value in arguments.items():
        check_positive(name, value)
    dense = kernel**2 * in_channels * out_channels
    outer = in_channels**2 + out_channels**2
    return (math.sqrt(outer**2 + 4 * size * dense**2) - outer) / (2 * dense)


def energy(singular_values: Tensor) -> Tensor:
    """Share of the squared norm in the first 1, 2, … components, float64 ``(k,)``; the last one is 1.

    ``1 - energy`` is the squared relative error of the best approximation (Eckart and Young, 1936). For a matrix of
    zeros all are 1.
    """
    squares = singular_values.detach().double().square()
    total = squares.sum()
    return squares.cumsum(0) / total if total > 0 else torch.ones_like(squares)


def rank_for_energy(singular_values: Tensor, share: float) -> int:
    """The smallest rank, at least 1, whose components keep at least ``share`` of the energy.

    Args:
        singular_values: of the matrix, from large to small.
        share: in [0, 1].

    Raises:
        ValueError: if ``share`` is outside [0, 1], or there are no singular values.
    """
    check_fraction("share", share, below_one=False)
    if len(singular_values) == 0:
        raise ValueError("singular_values must not be empty: a matrix without entries has no rank to choose")
    return min(int((energy(singular_values) < share - 1e-12).sum()) + 1, len(singular_values))


def parameters(module: nn.Module) -> int:
    """Parameters of a layer, bias included."""
    return sum(parameter.numel() for parameter in module.parameters())


def factored_parameters(module: nn.Module, kind: str, ranks: Sequence[int]) -> int:
    """Parameters of the factors of a layer, bias included; nothing is decomposed.

    Raises:
        ValueError: as ``architectures.factorized.factored``.
    """
    with torch.device("meta"):
        return parameters(factored(module, kind, ranks))


def ranks_for_size(module: nn.Module, kind: str, size: float, multiple: int = 8) -> tuple[int, ...] | None:
    """Ranks with which the factors hold about ``size`` times the parameters of the layer; None if they are not smaller.

    Args:
        kind: ``"svd"``, ``"tucker"``, ``"cp"`` or ``"embedding"``.
        size: in (0, 1).
        multiple: ranks are multiples of it (8 suits the processor), at least one.

    Raises:
        ValueError: if an argument is out of range or the kind does not fit the layer.
    """
    check_positive("size", size)
    check_fraction("size", size)
    check_choice("kind", kind, ("svd", "tucker", "cp", "embedding"))
    limits = largest_ranks(module, kind)
    weight: Any = module.weight
    if kind == "tucker":
        share = tucker_share(weight.shape[0], weight.shape[1], math.sqrt(weight[0, 0].numel()), size)
        wanted = [share * limit for limit in limits]
    else:
        per_rank = sum(weight.shape) if kind == "cp" else weight.shape[0] + weight[0].numel()
        wanted = [size * weight.numel() / per_rank]
    ranks = tuple(
        min(max(multiple, multiple * round(rank / multiple)), limit) for rank, limit in zip(wanted, limits, strict=True)
    )
    return ranks if factored_parameters(module, kind, ranks) < parameters(module) else None
