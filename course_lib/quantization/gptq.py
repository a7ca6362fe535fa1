"""GPTQ: quantize one column of the weights after another, and correct the later columns for the error of each.

For one layer with weights ``W`` ``(out, in)`` and inputs ``X``, ``H = X Xᵀ`` (the paper's factor 2 cancels), and ``U``
is the upper Cholesky factor of ``H⁻¹``. Column ``j`` becomes ``q = quantize(w)``; its error ``e = (w - q) / U_jj`` is
spread over the later columns, ``W[:, k] -= e · U_jk``.

Source: Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.data import Split
from course_lib.quantization.affine import QuantizedTensor, QuantParams
from course_lib.quantization.mse_scale import clipped_params
from course_lib.quantization.sparse_weights import kept_entries
from course_lib.quantization.stagewise import Choice, quantize_by_stage
from course_lib.quantization.weight_only import WeightOnly, WeightScheme
from course_lib.training.input_statistics import LayerInputs, inverse_factor
from course_lib.training.sequential_calibration import Stage

LAZY_BLOCK = 64


def gptq(
    model: nn.Module,
    calibration: Split,
    bits: int = 4,
    *,
    group_size: int | None = 64,
    symmetric: bool = False,
    act_order: bool = True,
    damping: float = 0.01,
    clip: bool = True,
    correct: bool = True,
    keep_zeros: bool | None = None,
    embedding_bits: int | None = 8,
) -> WeightOnly:
    """A copy of ``model`` with linear layers quantized by GPTQ, each on inputs from the quantized layers before it.

    Args:
        calibration: train or validation; a few dozen sentences are enough.
        act_order: quantize columns with large inputs first; the scales do not depend on the order, so none is stored.
        damping: added to the diagonal of H, as a fraction of its mean; at least 0.
        clip: shrink ranges where that lowers the error (see ``clipped_params``); else min-max.
        correct: let biases compensate for the mean error of their layer, where there are any.
        keep_zeros: whether pruned weights stay zero; None: in layers where at least a tenth of the weights are zero.
        embedding_bits: as in ``rtn``.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, there is no linear layer or no example, or H cannot be inverted.
    """
    scheme = WeightScheme(bits, group_size, symmetric)

    def choose(stage: Stage, matrix: Tensor, inputs: LayerInputs) -> Choice:
        params = clipped_params(matrix, scheme, inputs.hessian) if clip else scheme.params(matrix)
        kept = kept_entries(matrix, keep_zeros)
        try:
            return Choice(gptq_matrix(matrix, inputs.hessian, params, damping=damping, act_order=act_order, kept=kept))
        except ValueError as error:
            raise ValueError(
                f"layer {next(iter(stage.layers))!r}: {error}. It saw {inputs.count:,} calibration rows for "
                f"{stage.width:,} inputs: give more samples, or a larger damping"
            ) from error

    return quantize_by_stage(
        model, calibration, scheme, choose, name="gptq", embedding_bits=embedding_bits, correct=correct
    )


def gptq_matrix(
    weight: Tensor,
    hessian: Tensor,
    params: QuantParams,
    *,
    damping: float = 0.01,
    act_order: bool = True,
    kept: Tensor | None = None,
) -> QuantizedTensor:
    """Quantize ``weight`` ``(out, in)`` with the scales of ``params``, column by column.

    Args:
        hessian: ``(in, in)``, ``X Xᵀ`` up to a factor.
        params: scales per output or per group.
        damping, act_order: as in ``gptq``.
        kept: boolean ``(out, in)``; where it is false the result is zero, and its error is corrected as any other.

    Raises:
        ValueError: if the damped Hessian is not positive definite, or ``damping`` is negative.
    """
    order = torch.arange(weight.shape[1])
    if act_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
    U = inverse_factor(hessian[order][:, order], damping)
    W = weight.float()[:, order].clone()
    kept = None if kept is None else kept[:, order]
    scale, zero = (_per_entry(part, weight)[:, order] for part in (params.scale, params.zero_point))
    integers = torch.empty_like(W)
    for start in range(0, W.shape[1], LAZY_BLOCK):
        stop = min(start + LAZY_BLOCK, W.shape[1])
        E = torch.empty(len(W), stop - start)
        for j in range(start, stop):
            integers[:, j], E[:, j - start] = quantize_column(W, U, j, scale, zero, params.range, stop, kept)
        W[:, stop:] -= E @ U[start:stop, stop:]  # not read within the block, so all its corrections are made at once
    unordered = torch.empty_like(integers)
    unordered[:, order] = integers
    return QuantizedTensor(unordered.to(torch.int8 if params.symmetric else torch.uint8), params)


def quantize_column(
    W: Tensor,
    U: Tensor,
    j: int,
    scale: Tensor,
    zero: Tensor,
    qrange: tuple[int, int],
    stop: int | None = None,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Quantize column ``j`` of ``W`` and correct the columns from ``j + 1`` to ``stop`` for its error, in place.

    Args:
        scale, zero: ``(out, in)``, as ``W``.
        kept: boolean ``(out, in)``, as in ``gptq_matrix``.

    Returns:
        The integers of the column, and its error ``e``, each ``(out,)``.
    """
    w = W[:, j]
    integers = ((w / scale[:, j]).round() + zero[:, j]).clamp(*qrange)
    if kept is not None:
        integers = torch.where(kept[:, j], integers, zero[:, j])
    q = (integers - zero[:, j]) * scale[:, j]
    e = (w - q) / U[j, j]
    W[:, j:stop] -= torch.outer(e, U[j, j:stop])
    W[:, j] = q
    return integers, e


@dataclass(frozen=True)
class GPTQTrace:
    """All steps of GPTQ on one matrix, from the first column to the last.

    Args:
        states: ``(in + 1, out, in)``: ``W`` after 0, 1, … columns: those are quantized, the others corrected.
        errors: mean squared error of the output at each of these states.
    """

    states: Tensor
    errors: tuple[float, ...]

    def correction(self, columns: int) -> Tensor:
        """What step ``columns`` added to the columns after it, ``(out, in)``; zeros for step 0."""
        change = self.states[columns] - self.states[max(columns - 1, 0)]
        change[:, :columns] = 0
        return change


def gptq_trace(
    weight: Tensor, hessian: Tensor, params: QuantParams, *, damping: float = 0.01, spread: bool = True
) -> GPTQTrace:
    """``gptq_matrix`` without ``act_order``, step by step; without ``spread`` it is round-to-nearest.

    Args:
        hessian: ``(in, in)``, the mean of ``x xᵀ`` over the inputs; errors are then means over them.
    """
    U, W = inverse_factor(hessian, damping), weight.float().clone()
    scale, zero = (_per_entry(part, weight) for part in (params.scale, params.zero_point))
    states = [W.clone()]
    for j in range(W.shape[1]):
        quantize_column(W, U, j, scale, zero, params.range, stop=None if spread else j)
        states.append(W.clone())
    changes = [state - weight for state in states]
    return GPTQTrace(torch.stack(states), tuple(((c @ hessian) * c).sum().item() for c in changes))


def _per_entry(part: Tensor, weight: Tensor) -> Tensor:
    """One value per block as ``(out, in)`` floats."""
    per_row = part.view(len(weight), -1).float()
    return per_row.repeat_interleave(weight.shape[1] // per_row.shape[1], dim=1)
