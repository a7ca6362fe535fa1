"""Statistics of the inputs of a layer (Hessian, mean, magnitudes), and the Cholesky factor of the inverse Hessian.

Layer-wise methods need nothing else about the data: GPTQ, AWQ and SmoothQuant, and for pruning SparseGPT and Wanda.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class LayerInputs:
    """Statistics over all input rows ``x`` of a layer with ``d`` inputs.

    Args:
        hessian: ``(d, d)``, the sum of ``x xᵀ``; divided by ``count`` it gives the mean squared output error of any
            change of the weights (the factor 2 of the papers is left out, it cancels).
        scatter: ``(d, d)``, the same sum of ``x - mean``. It is summed on its own, because ``hessian - count · mean
            meanᵀ`` loses all digits where inputs hardly vary.
        mean, mean_abs, max_abs: ``(d,)``, mean of ``x``, mean of ``|x|`` and largest ``|x|`` per input channel.
        count: number of rows; padding does not count.
    """

    hessian: Tensor
    scatter: Tensor
    mean: Tensor
    mean_abs: Tensor
    max_abs: Tensor
    count: int = 0

    @classmethod
    def empty(cls, width: int) -> LayerInputs:
        """No rows yet."""
        matrices, vectors = torch.zeros(2, width, width), torch.zeros(3, width)
        return cls(*matrices, *vectors)

    def add(self, rows: Tensor) -> None:
        """Update the statistics with ``rows`` ``(n, d)``.

        Raises:
            ValueError: if a value is NaN or infinite.
        """
        rows = rows.detach().float().to(self.hessian.device)
        if not rows.isfinite().all():
            raise ValueError("calibration inputs must be finite, got NaN or infinity in the input of a linear layer")
        total = self.count + len(rows)
        self.hessian += rows.T @ rows
        if len(rows):
            centred, shift = rows - rows.mean(dim=0), rows.mean(dim=0) - self.mean
            self.scatter += centred.T @ centred + torch.outer(shift, shift) * (self.count * len(rows) / total)
            self.mean += (rows.mean(dim=0) - self.mean) * (len(rows) / total)
            self.mean_abs += (rows.abs().mean(dim=0) - self.mean_abs) * (len(rows) / total)
            self.max_abs = torch.maximum(self.max_abs, rows.abs().amax(dim=0))
        self.count = total

    def output_error(self, change: Tensor, shift: Tensor | None = None) -> float:
        """Mean of ``‖change · x + shift‖²`` over the rows, for a change of weights ``(out, d)`` and bias ``(out,)``."""
        error = ((change @ self.hessian) * change).sum().item() / max(1, self.count)
        if shift is not None:
            error += (shift * (2 * change @ self.mean + shift)).sum().item()
        return error

    def centred(self) -> LayerInputs:
        """The same rows with the Hessian about their mean: the error of the weights if the bias corrects the mean.

        Source: Chan, Golub and LeVeque, Updating Formulae for Computing Sample Variances, 1979 (how they are summed).
        """
        return replace(self, hessian=self.scatter)


def inverse_factor(hessian: Tensor, damping: float = 0.01) -> Tensor:
    """``U``, upper triangular with ``UᵀU = (H + damping · mean(diag H) · I)⁻¹``: the upper Cholesky factor.

    Inputs that are always zero have a zero row and column in ``H``; their diagonal entry becomes 1, so that they
    neither cause nor receive corrections.

    Raises:
        ValueError: if ``damping`` is negative, or the damped matrix is not positive definite.
    """
    if not damping >= 0:
        raise ValueError(f"damping must be at least 0, got {damping}")
    damped = hessian.double().clone()
    diagonal = damped.diagonal()
    diagonal += damping * diagonal.mean()
    diagonal[diagonal == 0] = 1
    lower, failed = torch.linalg.cholesky_ex(damped)
    if not failed:
        upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if failed or not upper.isfinite().all():
        raise ValueError(f"the Hessian cannot be inverted with damping {damping}")
    return upper.float()
