"""Decompositions of a weight: SVD of a matrix, Tucker-2 and CP of a filter bank.

Every function computes in float32 or better and returns tensors in the shapes of the layers that will hold them (see
``architectures.factorized``). The weight of a convolution is ``(out, in, k, k)``, that of a linear layer ``(out, in)``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.architectures.factorized import Factored, factored
from course_lib.architectures.weighted_layers import is_transposed

CP_SWEEPS = 20
CP_DAMPING = 1e-6


def as_matrix(weight: Tensor) -> Tensor:
    """A weight as the matrix ``(out, everything else)``, float32."""
    return weight.detach().float().flatten(1)


def singular_values(weight: Tensor, moment: Tensor | None = None) -> Tensor:
    """Singular values of a weight, from large to small; with ``moment`` those of its outputs (see ``svd_factors``)."""
    matrix = as_matrix(weight)
    if moment is None:
        moment = _gram(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T)
    return torch.linalg.eigvalsh(moment.double()).flip(0).clamp_min(0).sqrt().float()


def svd_factors(weight: Tensor, rank: int, moment: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``first (rank, …)`` and ``second (out, rank)`` with ``second @ first ≈ weight``, both of equal size.

    Without ``moment`` this is the best approximation of the *weight* (Eckart and Young, 1936): its SVD ``U Σ Vᵀ``
    truncated to ``rank`` components. With it, this is the best approximation of the *outputs* on the data of the
    moment: whiten the inputs with their covariance C, truncate the SVD of ``W C^½``, undo the whitening.

    Both need only the left singular vectors U, the eigenvectors of ``W Wᵀ`` or of ``W C Wᵀ``, the moment of the
    outputs; then ``second = U`` and ``first = Uᵀ W``, and no covariance has to be inverted.

    Args:
        moment: mean of ``y yᵀ`` over outputs y without bias, ``(out, out)``; see ``output_moments``.

    Source: Zhang et al., Accelerating Very Deep Convolutional Networks, 2016 (outputs); Wang et al., SVD-LLM, 2024
    (whitening).
    """
    matrix = as_matrix(weight)
    if moment is None and matrix.shape[0] > matrix.shape[1]:
        second, first = svd_factors(matrix.T, rank)
        first, second = first.T, second.T
    else:
        gram = _gram(matrix) if moment is None else moment.double()
        second = torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :rank].float()
        first = second.T @ matrix
        balance = first.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny).sqrt()
        first, second = first / balance[:, None], second * balance
    return first.reshape(-1, *weight.shape[1:]).contiguous(), second.contiguous()


def tucker_factors(weight: Tensor, ranks: Sequence[int], *, sweeps: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """``reduce (r_in, in)``, ``core (r_out, r_in, k, k)`` and ``expand (out, r_out)`` of a filter bank.

    Only the two channel axes are compressed (Tucker-2): ``weight ≈ core ×_out expand ×_in reduceᵀ``. Each axis keeps
    its leading directions, those of the SVD along it (HOSVD, De Lathauwer et al., 2000).

    Args:
        sweeps: of alternating refinement (HOOI); for ResNet18's largest layer ten of them lower the error from 0.548
            to 0.547 and take twenty times as long.

    Source: Kim et al., Compression of Deep Convolutional Neural Networks, 2016; computed by tensorly.
    """
    from tensorly.decomposition import partial_tucker

    rank_in, rank_out = ranks
    with _torch_backend():
        (core, (out, into)), _ = partial_tucker(
            weight.detach().float(), rank=[rank_out, rank_in], modes=[0, 1], n_iter_max=sweeps, svd=_leading_directions
        )
    return into.T.contiguous(), core.contiguous(), out.contiguous()


def cp_factors(weight: Tensor, rank: int, *, sweeps: int = CP_SWEEPS, seed: int = 0) -> tuple[Tensor, ...]:
    """``reduce (r, in)``, ``vertical (r, 1, k, 1)``, ``horizontal (r, 1, 1, k)`` and ``expand (out, r)``.

    The filter bank as a sum of r outer products of four vectors. There is no closed form: alternating least squares
    runs ``sweeps`` times over the axes, starting at their leading directions, and finds a local optimum.

    Once the large output axis is contracted (``contracted``), the other three axes need only that small result. A
    general routine, as ``parafac`` of tensorly, contracts the whole filter bank for every axis, which takes many times
    as long for a large layer and is not more accurate.

    Source: Lebedev et al., Speeding-up Convolutional Neural Networks Using Fine-tuned CP-Decomposition, 2015; Phan et
    al., Fast Alternating LS Algorithms for High Order CANDECOMP/PARAFAC, 2013 (the order of contractions).
    """
    bank = weight.detach().float()
    generator = torch.Generator().manual_seed(seed)
    out, into, high, wide = (_initial_directions(bank, axis, rank, generator) for axis in range(4))
    for _ in range(sweeps):
        contracted = (bank.flatten(1).T @ out).view(*bank.shape[1:], rank)
        into = _least_squares(torch.einsum("ihwr,hr,wr->ir", contracted, high, wide), out, high, wide)
        into = F.normalize(into, dim=0)
        plane = torch.einsum("ihwr,ir->hwr", contracted, into)
        high = F.normalize(_least_squares(torch.einsum("hwr,wr->hr", plane, wide), out, into, wide), dim=0)
        wide = F.normalize(_least_squares(torch.einsum("hwr,hr->wr", plane, high), out, into, high), dim=0)
        products = torch.einsum("ir,hr,wr->ihwr", into, high, wide).flatten(0, 2)
        out = _least_squares(bank.flatten(1) @ products, into, high, wide)
    scale = out.norm(dim=0).pow(0.25)
    out, into, high, wide = F.normalize(out, dim=0) * scale, into * scale, high * scale, wide * scale
    return into.T.contiguous(), high.T[:, None, :, None].contiguous(), wide.T[:, None, None, :].contiguous(), out


def factor_layer(module: nn.Module, kind: str, ranks: Sequence[int], moment: Tensor | None = None) -> Factored:
    """The factors of a layer, with its weight decomposed into them; the last factor has the bias.

    Raises:
        ValueError: if the kind does not fit the layer, a rank is out of range, or ``moment`` is not for ``"svd"``.
    """
    chain = factored(module, kind, ranks)
    if moment is not None and kind != "svd":
        raise ValueError(f"moment is used by kind 'svd' only, got kind {kind!r}")
    weight: Any = module.weight.T if is_transposed(module) else module.weight
    with torch.no_grad():
        for factor, value in zip(chain, _decompose(weight, kind, ranks, moment), strict=True):
            holder: Any = factor.weight
            holder.copy_(value.reshape(holder.shape))
        last: Any = chain[-1]
        if last.bias is not None:
            last.bias.copy_(module.bias)
    return chain.to(weight.device, weight.dtype).train(module.training)


def merge(chain: Factored) -> Tensor:
    """The product of the factors, in the shape of the weight that they replaced, detached."""
    return chain.weight.detach()


def relative_error(weight: Tensor, other: Tensor) -> float:
    """``‖weight - other‖ / ‖weight‖``; 0 where both are all zeros."""
    norm = weight.detach().double().norm().item()
    return (weight.detach().double() - other.detach().double()).norm().item() / norm if norm else 0.0


def _decompose(weight: Tensor, kind: str, ranks: Sequence[int], moment: Tensor | None) -> Sequence[Tensor]:
    if kind == "tucker":
        return tucker_factors(weight, ranks)
    if kind == "cp":
        return cp_factors(weight, *ranks)
    if kind == "embedding":
        first, second = svd_factors(weight.T, ranks[0])
        return first.T, second
    return svd_factors(weight, ranks[0], moment)


def _initial_directions(bank: Tensor, axis: int, rank: int, generator: torch.Generator) -> Tensor:
    """Initial ``rank`` directions of an axis: its leading ones, and random ones if it has fewer."""
    matrix = bank.movedim(axis, 0).flatten(1)
    leading, *_ = _leading_directions(matrix, min(rank, len(matrix)))
    more = torch.randn(len(matrix), rank - leading.shape[1], generator=generator).to(leading)
    return torch.cat([leading, F.normalize(more, dim=0)], dim=1)


def _least_squares(projected: Tensor, *others: Tensor) -> Tensor:
    """The best factor of one axis for fixed ``others``; damping keeps the system solvable if directions coincide."""
    gram = torch.stack([factor.T @ factor for factor in others]).prod(dim=0)
    damping = CP_DAMPING * gram.diagonal().mean().clamp_min(CP_DAMPING)
    return torch.linalg.solve(gram + damping * torch.eye(len(gram)).to(gram), projected.T).T


def _leading_directions(matrix: Tensor, n_eigenvecs: int, **_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """SVD of a wide matrix from its small Gram matrix, for tensorly, which reads only the left vectors."""
    values, vectors = torch.linalg.eigh(_gram(matrix))
    left = vectors.flip(1)[:, :n_eigenvecs].to(matrix)
    return left, values.flip(0)[:n_eigenvecs].clamp_min(0).sqrt().to(matrix), left.T @ matrix


def _gram(matrix: Tensor) -> Tensor:
    return matrix.double() @ matrix.double().T


@contextmanager
def _torch_backend() -> Iterator[None]:
    """Let tensorly compute with torch, and restore its backend afterwards."""
    import tensorly

    with tensorly.backend_context("pytorch", local_threadsafe=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Trying to compute SVD with n_eigenvecs")
        yield
