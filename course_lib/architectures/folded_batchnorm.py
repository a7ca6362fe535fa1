"""Folded BatchNorm in the description of a model, from which a stored model is rebuilt.

``{"folds": [["conv1", "bn1"], …]}`` in the arguments of an architecture means: this convolution has a bias, and the
norm after it is an ``nn.Identity``, behind a linear layer a ``FoldedBatchNorm1d``. The folding itself is in
``batchnorm_folding``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.architectures.tracing import replace_module


class FoldedBatchNorm1d(nn.Identity):
    """In place of a ``BatchNorm1d`` that was folded into the linear layer before it: rows ``(B, C)`` pass unchanged."""

    def forward(self, input: Tensor) -> Tensor:
        """The input itself.

        Raises:
            ValueError: if it has more dimensions; then BatchNorm would have normalized dimension 1, not the features.
        """
        if isinstance(input, Tensor) and input.dim() != 2:  # torch.fx traces with something else than a tensor
            raise ValueError(
                f"a BatchNorm1d was folded into the linear layer before it, but input has shape {tuple(input.shape)}, "
                "of which BatchNorm1d normalizes dimension 1 and not the features; fold with "
                "fold_batchnorm(model, inputs), which leaves such a norm as it is"
            )
        return input


def replace_norms(model: nn.Module, folds: Sequence[Sequence[str]]) -> nn.Module:
    """Give each layer a bias of zeros if it has none, and replace its norm by one that does nothing, in place.

    Raises:
        ValueError: if ``folds`` holds other than pairs of names, a convolution or linear layer and the norm after it.
    """
    layers = dict(model.named_modules())
    for pair in folds:
        if not isinstance(pair, Sequence) or len(pair) != 2 or not all(name in layers for name in pair):
            raise ValueError(f"folds holds {pair!r}; allowed are pairs of layers of the model, [before, norm]")
        before, norm = layers[pair[0]], layers[pair[1]]
        if not isinstance(before, nn.Conv2d | nn.Linear) or not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            raise ValueError(f"folds holds {list(pair)}, which are not a convolution or linear layer and a BatchNorm")
        if before.bias is None:
            weight = before.weight
            before.bias = nn.Parameter(torch.zeros(len(weight), dtype=weight.dtype, device=weight.device))
        nothing = FoldedBatchNorm1d() if isinstance(norm, nn.BatchNorm1d) else nn.Identity()
        replace_module(model, pair[1], nothing.train(norm.training))
    return model
