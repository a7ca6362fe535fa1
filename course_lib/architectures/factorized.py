"""Layers factorized by SVD, Tucker-2 or CP.

A description lists the ranks, ``{"layer4.0.conv1": ["tucker", 64, 96]}``; with the layer that the builder makes, they
determine the shape of every factor. The factors are plain torch layers in sequence:

=========  ==================  ======================================================================
kind       layer               factors (k×k is the kernel of the layer)
=========  ==================  ======================================================================
svd        linear              linear n → r, linear r → m
svd        convolution         convolution k×k, n → r; convolution 1×1, r → m
tucker     convolution         1×1, n → r₁; k×k, r₁ → r₂; 1×1, r₂ → m
cp         convolution         1×1, n → r; depthwise k×1 and 1×k on r channels; 1×1, r → m
embedding  embedding           embedding of width r; linear r → m
=========  ==================  ======================================================================
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.architectures.weighted_layers import is_linear, is_transposed
from course_lib.core.validation import check_choice

KINDS = {"svd": 1, "tucker": 2, "cp": 1, "embedding": 1}
"""Kind → number of ranks."""

Plan = Mapping[str, Sequence[Any]]


class Factored(nn.Sequential):
    """A factorized layer: its factors in sequence, with the sizes of the original layer.

    A model that reads the weight of a layer without calling it, as Swin does, gets the product of the factors.
    """

    @property
    def weight(self) -> Tensor:
        """Product of the factors, in the shape of the weight that they replaced.

        The factors of a convolution are convolutions in sequence, so their product is one too: the impulse responses of
        the unpadded chain, one for each input channel.
        """
        weights: list[Any] = [factor.weight for factor in self if isinstance(factor.weight, Tensor)]
        if isinstance(self[0], nn.Embedding):
            return weights[0] @ weights[1].T
        if isinstance(self[0], nn.Linear):
            return weights[1] @ weights[0]
        height, width = (max(weight.shape[axis] for weight in weights) for axis in (2, 3))
        signal = torch.eye(self.in_features)[:, :, None, None].to(weights[0])
        signal = F.pad(signal, (width - 1, width - 1, height - 1, height - 1))
        for weight in weights:
            signal = F.conv2d(signal, weight, groups=signal.shape[1] // weight.shape[1])
        return signal.flip(2, 3).transpose(0, 1).contiguous()

    @property
    def bias(self) -> Tensor | None:
        """Bias of the last factor, which is that of the layer."""
        return getattr(self[-1], "bias", None)

    @property
    def in_features(self) -> int:
        """Inputs, or input channels, of the original layer."""
        return getattr(self[0], "in_features", getattr(self[0], "in_channels", 0))

    @property
    def out_features(self) -> int:
        """Outputs, or output channels, of the original layer."""
        return getattr(self[-1], "out_features", getattr(self[-1], "out_channels", 0))


def factored(module: nn.Module, kind: str, ranks: Sequence[int]) -> Factored:
    """Untrained factors in place of ``module``, on the default device; its weights are not read.

    Raises:
        ValueError: if the kind does not fit the layer, or a rank is not a whole number from 1 to its largest.
    """
    check_choice("kind", kind, tuple(KINDS))
    limits = largest_ranks(module, kind)
    if len(ranks) != len(limits):
        raise ValueError(f"ranks of {kind!r} must be {len(limits)} whole numbers, got {list(ranks)}")
    for rank, limit in zip(ranks, limits, strict=True):
        if type(rank) is not int or not 1 <= rank <= limit:
            raise ValueError(f"rank must be a whole number from 1 to {limit} for this layer ({kind}), got {rank!r}")
    if is_linear(module):
        return _linear(module, *ranks)
    if isinstance(module, nn.Embedding):
        return _embedding(module, *ranks)
    factorize: dict[str, Callable[..., Factored]] = {"svd": _svd_convolution, "tucker": _tucker, "cp": _cp}
    return factorize[kind](module, *ranks)


def largest_ranks(module: nn.Module, kind: str) -> tuple[int, ...]:
    """The ranks at which the factorization is exact (for CP, an upper bound).

    Raises:
        ValueError: if a layer of this kind cannot be factored as ``kind``.
    """
    if is_linear(module) and kind == "svd":
        return (min(_linear_sizes(module)),)
    if isinstance(module, nn.Embedding) and kind == "embedding":
        return (min(module.num_embeddings, module.embedding_dim),)
    if isinstance(module, nn.Conv2d) and kind in ("svd", "tucker", "cp"):
        if module.groups != 1:
            raise ValueError(f"a convolution with {module.groups} groups cannot be factored: only one group can")
        height, width = module.kernel_size
        if kind != "svd" and height == width == 1:
            raise ValueError(f"a 1×1 convolution is a matrix: kind must be 'svd', got {kind!r}")
        inputs, outputs = module.in_channels, module.out_channels
        weights = inputs * outputs * height * width
        cp = weights // max(inputs, outputs, height, width)
        return {"svd": (min(outputs, weights // outputs),), "tucker": (inputs, outputs), "cp": (cp,)}[kind]
    raise ValueError(f"a layer of kind {type(module).__name__} cannot be factored as {kind!r}")


def with_factors(make: Callable[[], nn.Module], plan: Plan) -> nn.Module:
    """The model of ``make``, untrained, with the layers of ``plan`` factorized (name → kind and ranks, see above).

    Raises:
        ValueError: if a layer is unknown or cannot be factored as its plan says.
    """
    model = make()
    modules = dict(model.named_modules())
    for name, (kind, *ranks) in plan.items():
        if name not in modules:
            raise ValueError(f"ranks names {name!r}, which is not a layer of {type(model).__name__}")
        model.set_submodule(name, factored(modules[name], kind, ranks))
    return model


def _linear_sizes(module: Any) -> tuple[int, int]:
    return (module.nx, module.nf) if is_transposed(module) else (module.in_features, module.out_features)


def _linear(module: Any, rank: int) -> Factored:
    inputs, outputs = _linear_sizes(module)
    first = nn.Linear(inputs, rank, bias=False)
    return _chain(first=first, second=nn.Linear(rank, outputs, bias=module.bias is not None))


def _embedding(module: nn.Embedding, rank: int) -> Factored:
    table = nn.Embedding(module.num_embeddings, rank, padding_idx=module.padding_idx)
    return _chain(first=table, second=nn.Linear(rank, module.embedding_dim, bias=False))


def _svd_convolution(module: nn.Conv2d, rank: int) -> Factored:
    first = nn.Conv2d(module.in_channels, rank, bias=False, **_window(module))
    return _chain(first=first, second=nn.Conv2d(rank, module.out_channels, 1, bias=module.bias is not None))


def _tucker(module: nn.Conv2d, rank_in: int, rank_out: int) -> Factored:
    return _chain(
        reduce=nn.Conv2d(module.in_channels, rank_in, 1, bias=False),
        core=nn.Conv2d(rank_in, rank_out, bias=False, **_window(module)),
        expand=nn.Conv2d(rank_out, module.out_channels, 1, bias=module.bias is not None),
    )


def _cp(module: nn.Conv2d, rank: int) -> Factored:
    window, neutral = _window(module), {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    high: dict[str, Any] = {name: (value[0], neutral[name]) for name, value in window.items()}
    wide: dict[str, Any] = {name: (neutral[name], value[1]) for name, value in window.items()}
    return _chain(
        reduce=nn.Conv2d(module.in_channels, rank, 1, bias=False),
        vertical=nn.Conv2d(rank, rank, groups=rank, bias=False, **high),
        horizontal=nn.Conv2d(rank, rank, groups=rank, bias=False, **wide),
        expand=nn.Conv2d(rank, module.out_channels, 1, bias=module.bias is not None),
    )


def _window(module: nn.Conv2d) -> dict[str, Any]:
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        found = f"{module.padding!r} of {module.padding_mode!r}"
        raise ValueError(f"padding must be numbers, filled with zeros, to be factored, got {found}")
    return {name: getattr(module, name) for name in ("kernel_size", "stride", "padding", "dilation")}


def _chain(**factors: nn.Module) -> Factored:
    return Factored(OrderedDict(factors))
