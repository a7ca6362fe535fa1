"""What GPTQ, AWQ and SmoothQuant know about the inputs of a layer: sums over them, in the memory of one matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class LayerInputs:
    """Sums over all input rows ``x`` of a stage, from which every method here works.

    Args:
        hessian: ``(d, d)``, the sum of ``x xᵀ``; with ``count`` it gives the mean squared output error of any change
            of the weights (the factor 2 of the papers is left out, it cancels).
        mean: ``(d,)``, mean of ``x`` per input channel.
        mean_abs: ``(d,)``, mean of ``|x|`` per input channel.
        max_abs: ``(d,)``, largest ``|x|`` per input channel.
        count: rows that were seen; padding does not count.
    """

    hessian: Tensor
    mean: Tensor
    mean_abs: Tensor
    max_abs: Tensor
    count: int = 0

    @classmethod
    def empty(cls, width: int) -> LayerInputs:
        """No rows yet."""
        return cls(torch.zeros(width, width), torch.zeros(width), torch.zeros(width), torch.zeros(width))

    def add(self, rows: Tensor) -> None:
        """Take in ``rows`` ``(n, d)``.

        Raises:
            ValueError: if a value is NaN or infinite.
        """
        rows = rows.detach().float().to(self.hessian.device)
        if not rows.isfinite().all():
            raise ValueError("calibration inputs must be finite, got NaN or infinity in the input of a linear layer")
        total = self.count + len(rows)
        self.hessian += rows.T @ rows
        if len(rows):
            self.mean += (rows.mean(dim=0) - self.mean) * (len(rows) / total)
            self.mean_abs += (rows.abs().mean(dim=0) - self.mean_abs) * (len(rows) / total)
            self.max_abs = torch.maximum(self.max_abs, rows.abs().amax(dim=0))
        self.count = total

    def output_error(self, change: Tensor, shift: Tensor | None = None) -> float:
        """Mean over the rows of ``‖change · x + shift‖²`` for a change of the weights ``(out, d)`` and the bias."""
        error = ((change @ self.hessian) * change).sum().item() / max(1, self.count)
        if shift is not None:
            error += (shift * (2 * change @ self.mean + shift)).sum().item()
        return error

    def centred(self) -> LayerInputs:
        """The same rows with a Hessian about their mean: what is left to the weights if the bias takes the mean."""
        return replace(self, hessian=self.hessian - self.count * torch.outer(self.mean, self.mean))
