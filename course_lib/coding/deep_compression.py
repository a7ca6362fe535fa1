"""Deep Compression as it was published: pruned weights share few values, and indices and gaps get Huffman codes.

Source: Han, Mao and Dally, Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and
Huffman Coding, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from course_lib import models, training
from course_lib.architectures.weighted_layers import copy_model
from course_lib.coding.codebook import Codebook, k_means
from course_lib.coding.huffman import code_bits, code_lengths, gaps
from course_lib.data import Split

GAP_BITS = {nn.Conv2d: 8, nn.Linear: 5}
LENGTH_BITS = 5  # of a code length in the table of a canonical code


@dataclass(frozen=True)
class SharedWeights:
    """Weights of one layer: which are nonzero, and the codebook of those.

    Args:
        nonzero: boolean, in the shape of the weight.
        codebook: its indices are ``(nonzeros,)``.
        gap_bits: bits of a stored gap, before Huffman coding.
    """

    nonzero: Tensor
    codebook: Codebook
    gap_bits: int

    def values(self) -> Tensor:
        """The weight, fp32."""
        weight = torch.zeros(self.nonzero.shape)
        weight[self.nonzero] = self.codebook.values()
        return weight


@dataclass(frozen=True)
class PublishedBytes:
    """Bytes of a model in the format of the paper, rounded up per layer: counted, not written.

    Args:
        indices, gaps: Huffman-coded.
        tables: code lengths of both.
        codebooks: centroids in fp32.
        rest: biases and norms in fp32.
    """

    indices: int
    gaps: int
    tables: int
    codebooks: int
    rest: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.indices + self.gaps + self.tables + self.codebooks + self.rest


def share_weights(
    model: nn.Module, bits: int = 5, *, overrides: Mapping[str, int] | None = None, method: str = "linear"
) -> dict[str, SharedWeights]:
    """Layer name → its nonzero weights clustered into 2^bits values by k-means; layers with fewer have one for each.

    Args:
        overrides: layer name → other bits.
        method: of initialisation; the paper found ``"linear"`` best.

    Raises:
        ValueError: if bits are not from 1 to 16, or all weights of a layer are zero.
    """
    shared = {}
    for name, layer in models.prunable_layers(model).items():
        width = (overrides or {}).get(name, bits)
        if not 1 <= width <= 16:
            raise ValueError(f"bits of layer {name!r} must lie from 1 to 16, got {width}")
        weight: Any = layer.weight
        nonzero = weight.detach() != 0
        values = weight.detach()[nonzero].float()
        if values.numel() == 0:
            raise ValueError(f"layer {name!r} has no nonzero weight to share")
        k = min(2**width, len(values.unique()))
        gap_bits = next(count for kind, count in GAP_BITS.items() if isinstance(layer, kind))
        shared[name] = SharedWeights(nonzero, k_means(values, k, method=method), gap_bits)
    return shared


def with_shared_weights(model: nn.Module, shared: Mapping[str, SharedWeights]) -> nn.Module:
    """A copy of ``model`` with the shared values as weights."""
    changed = copy_model(model)
    for name, weights in shared.items():
        parameter: Any = changed.get_submodule(name).weight
        parameter.data.copy_(weights.values())
    return changed


class SharedParametrization(nn.Module):
    """``weight = centroids[indices]``: autograd sums the gradients of the weights that share a centroid."""

    def __init__(self, shared: SharedWeights) -> None:
        super().__init__()
        self.nonzero, self.indices = shared.nonzero, shared.codebook.indices
        self.centroids = nn.Parameter(shared.codebook.centroids.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The shared weight; ``weight`` gives only its shape and dtype."""
        return torch.zeros_like(weight).masked_scatter(self.nonzero, self.centroids[self.indices].to(weight.dtype))


def train_centroids(
    model: nn.Module, shared: Mapping[str, SharedWeights], train: Split, validation: Split | None = None, **options: Any
) -> tuple[nn.Module, dict[str, SharedWeights], training.History]:
    """Train the centroids (and biases and norms) of a copy of ``model``; which weights share one stays as it is.

    Args:
        options: of ``training.fit``: ``epochs``, ``learning_rate``, ``loss``, ….

    Returns:
        The copy as a plain model, the shared weights with trained centroids, and the history.

    Raises:
        TestSplitError: if a split is the test split.
    """
    tuned = with_shared_weights(model, shared)
    for name, weights in shared.items():
        layer: Any = tuned.get_submodule(name)
        parametrize.register_parametrization(layer, "weight", SharedParametrization(weights))
        layer.parametrizations.weight.original.requires_grad_(False)
    history = training.fit(tuned, train, validation, **options)
    trained = {}
    for name, weights in shared.items():
        layer = tuned.get_submodule(name)
        centroids = layer.parametrizations.weight[0].centroids.detach()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        layer.weight.requires_grad_(True)
        codebook = Codebook(centroids, weights.codebook.indices)
        trained[name] = SharedWeights(weights.nonzero, codebook, weights.gap_bits)
    return tuned, trained, history


def published_bytes(model: nn.Module, shared: Mapping[str, SharedWeights]) -> PublishedBytes:
    """Bytes of ``model`` with shared weights in the format of the paper, with all tables.

    Huffman codes are one for the indices and one for the gaps of each layer. A gap that does not fit adds a filler,
    whose index is that of the centroid nearest to zero.
    """
    indices = gap_bytes = tables = codebooks = 0
    for weights in shared.values():
        k = len(weights.codebook.centroids)
        distances = gaps(weights.nonzero, weights.gap_bits)
        counts = torch.bincount(weights.codebook.indices, minlength=k)
        counts[weights.codebook.centroids.abs().argmin()] += len(distances) - len(weights.codebook.indices)
        indices += _huffman_bytes(counts)
        gap_bytes += _huffman_bytes(torch.bincount(distances, minlength=2**weights.gap_bits))
        tables += math.ceil(LENGTH_BITS * (k + 2**weights.gap_bits) / 8)
        codebooks += 4 * k
    names = {f"{name}.weight" for name in shared}
    rest = sum(4 * value.numel() for name, value in model.state_dict().items() if name not in names)
    return PublishedBytes(indices, gap_bytes, tables, codebooks, rest)


def _huffman_bytes(counts: Tensor) -> int:
    listed = counts.tolist()
    return math.ceil(code_bits(listed, code_lengths(listed)) / 8)
