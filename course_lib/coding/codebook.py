"""k-means codebooks: the weights of a layer share a few values, and each weight is the index of one of them.

Source: Han, Mao and Dally, Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and
Huffman Coding, 2016 (section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.core.validation import check_choice, check_positive

INITIALIZATIONS = ("linear", "density", "random")


@dataclass(frozen=True)
class Codebook:
    """Values that share few centroids.

    Args:
        centroids: ``(k,)``, ascending.
        indices: int64, in the shape of the values: the nearest centroid of each.
    """

    centroids: Tensor
    indices: Tensor

    def values(self) -> Tensor:
        """The centroid of each value."""
        return self.centroids[self.indices]


def initial_centroids(values: Tensor, k: int, method: str = "linear", seed: int = 0) -> Tensor:
    """Where k-means starts, ``(k,)`` ascending.

    Args:
        method: ``"linear"``: equally spaced from the smallest value to the largest; ``"density"``: equally spaced on
            the cumulative distribution; ``"random"``: k different values, drawn.

    Raises:
        ValueError: if ``k`` is not from 1 to the number of different values, or the method is unknown.
    """
    check_choice("method", method, INITIALIZATIONS)
    check_positive("k", k)
    values = values.detach().flatten().float()
    if not values.isfinite().all():
        raise ValueError("values must be finite, got NaN or infinity")
    distinct = values.unique()
    if k > len(distinct):
        raise ValueError(f"k must be at most the number of different values, {len(distinct)}, got {k}")
    if method == "linear":
        return torch.linspace(float(distinct[0]), float(distinct[-1]), k)
    if method == "density":
        ranks = ((torch.arange(k) + 0.5) / k * len(values)).long()
        return values.sort().values[ranks]
    drawn = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed))[:k]
    return distinct[drawn].sort().values


def assign(values: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest of the ascending ``centroids`` for each value; ties go to the lower one."""
    middles = (centroids[1:] + centroids[:-1]) / 2
    return torch.bucketize(values.contiguous(), middles)


def update(values: Tensor, indices: Tensor, centroids: Tensor) -> Tensor:
    """Each centroid as the mean of its values, ``(k,)`` ascending.

    An empty cluster gets the value that lies farthest from its centroid, the second empty one the second farthest.
    """
    k = len(centroids)
    flat, where = values.flatten().double(), indices.flatten()
    counts = torch.bincount(where, minlength=k)
    sums = torch.zeros(k, dtype=torch.float64).index_add_(0, where, flat)
    means = torch.where(counts > 0, sums / counts.clamp(min=1), centroids.double())
    if empty := int((counts == 0).sum()):
        distances = (flat - means[where]).abs()
        means[counts == 0] = flat[distances.argsort(descending=True, stable=True)[:empty]]
    return means.to(centroids.dtype).sort().values


def k_means(values: Tensor, k: int, *, method: str = "linear", steps: int = 50, seed: int = 0) -> Codebook:
    """Lloyd's algorithm in one dimension, until no index changes.

    Raises:
        ValueError: as ``initial_centroids``.

    Source: Lloyd, Least Squares Quantization in PCM, 1982.
    """
    flat = values.detach().float()
    centroids = initial_centroids(flat, k, method, seed)
    indices = assign(flat, centroids)
    for _ in range(steps):
        centroids = update(flat, indices, centroids)
        before, indices = indices, assign(flat, centroids)
        if torch.equal(before, indices):
            break
    return Codebook(centroids, indices)


def centroid_gradients(gradient: Tensor, indices: Tensor, k: int) -> Tensor:
    """Gradient of each centroid ``(k,)``: the sum of the gradients of the weights that share it (equation 3)."""
    return torch.zeros(k, dtype=gradient.dtype).index_add_(0, indices.flatten(), gradient.flatten())


def codebook_bits(weights: int, k: int, value_bits: int = 32) -> int:
    """Bits of a layer: an index of ``ceil(log2 k)`` bits for each weight, and k values."""
    return weights * max(k - 1, 0).bit_length() + k * value_bits
