"""GPTQ: round one column after another, and let the columns that are still free make good for each error.

For one layer with weights ``W`` ``(out, in)`` and inputs ``X``, ``H = X Xᵀ``. With ``U`` the upper Cholesky factor of
``H⁻¹``, column ``j`` is rounded, its error ``e = (w_j - q_j) / U_jj`` is spread over the later columns,
``w_k -= e · U_jk``, and so on to the last.

Source: Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.data import Split
from course_lib.quantization.affine import QuantizedTensor, QuantParams
from course_lib.quantization.weight_only import Choice, WeightOnly, WeightScheme, clipped_params, quantize_by_stage
from course_lib.training.input_statistics import LayerInputs
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
    embedding_bits: int | None = 8,
) -> WeightOnly:
    """A copy of ``model`` whose linear layers were quantized by GPTQ, each with the inputs that quantized ones give it.

    Args:
        calibration: train or validation; some dozens of sentences are enough.
        act_order: take the columns with the largest inputs first; scales are found before, so the file needs no order.
        damping: part of the mean of H's diagonal that is added to it, at least 0.
        clip: shrink ranges where that lowers the error (see ``clipped_params``); else min-max.
        correct: let each bias take over the mean of its layer's error, where there is one (see ``add_to_bias``).
        embedding_bits: as in ``rtn``.

    Raises:
        TestSplitError: if ``calibration`` is the test split.
        ValueError: if an argument is out of range, there is no linear layer or no example, or H cannot be inverted.
    """
    scheme = WeightScheme(bits, group_size, symmetric)

    def choose(stage: Stage, matrix: Tensor, inputs: LayerInputs) -> Choice:
        params = clipped_params(matrix, scheme, inputs.hessian) if clip else scheme.params(matrix)
        try:
            return Choice(gptq_matrix(matrix, inputs.hessian, params, damping=damping, act_order=act_order))
        except ValueError as error:
            raise ValueError(
                f"layer {next(iter(stage.layers))!r}: {error}. It saw {inputs.count:,} calibration rows for "
                f"{stage.width:,} inputs: give more samples, or a larger damping"
            ) from error

    return quantize_by_stage(
        model, calibration, scheme, choose, name="gptq", embedding_bits=embedding_bits, correct=correct
    )


def gptq_matrix(
    weight: Tensor, hessian: Tensor, params: QuantParams, *, damping: float = 0.01, act_order: bool = True
) -> QuantizedTensor:
    """Round ``weight`` ``(out, in)`` to the grid of ``params``, column by column.

    Args:
        hessian: ``(in, in)``, ``X Xᵀ`` up to a factor.
        params: scales per output or per group.
        damping: as in ``gptq``.

    Raises:
        ValueError: if the damped Hessian is not positive definite, or ``damping`` is negative.
    """
    order = torch.arange(weight.shape[1])
    if act_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
    factor = inverse_factor(hessian[order][:, order], damping)
    free = weight.float()[:, order].clone()
    scale, zero_point = (_per_entry(part, weight)[:, order] for part in (params.scale, params.zero_point))
    integers = torch.empty_like(free)
    for start in range(0, free.shape[1], LAZY_BLOCK):
        stop = min(start + LAZY_BLOCK, free.shape[1])
        errors = torch.empty(len(free), stop - start)
        for column in range(start, stop):
            integers[:, column] = ((free[:, column] / scale[:, column]).round() + zero_point[:, column]).clamp(
                *params.range
            )
            rounded = (integers[:, column] - zero_point[:, column]) * scale[:, column]
            errors[:, column - start] = (free[:, column] - rounded) / factor[column, column]
            free[:, column:stop] -= torch.outer(errors[:, column - start], factor[column, column:stop])
        # Later columns are not looked at within a block, so all corrections of them are made at once.
        free[:, stop:] -= errors @ factor[start:stop, stop:]
    unordered = torch.empty_like(integers)
    unordered[:, order] = integers
    return QuantizedTensor(unordered.to(torch.int8 if params.symmetric else torch.uint8), params)


def inverse_factor(hessian: Tensor, damping: float = 0.01) -> Tensor:
    """``U``, upper triangular with ``UᵀU = (H + damping · mean(diag H) · I)⁻¹``.

    Inputs that were always zero have a zero row and column; they get a diagonal of 1, and neither give nor take
    corrections.

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


@dataclass(frozen=True)
class GPTQTrace:
    """Every step of GPTQ on one matrix, from the first column to the last.

    Args:
        states: ``(in + 1, out, in)``: the weights after so many columns; rounded before, corrected behind.
        errors: ``(in + 1)`` mean squared errors of the output after so many columns.
    """

    states: Tensor
    errors: tuple[float, ...]

    def correction(self, columns: int) -> Tensor:
        """What the last of the first ``columns`` columns added to the weights, ``(out, in)``; zeros at the start."""
        before = self.states[max(columns - 1, 0)]
        change = self.states[columns] - before
        change[:, :columns] = 0
        return change


def gptq_trace(
    weight: Tensor, hessian: Tensor, params: QuantParams, *, damping: float = 0.01, spread: bool = True
) -> GPTQTrace:
    """``gptq_matrix`` in plain order, watched; with ``spread=False`` errors are not passed on (round-to-nearest).

    Args:
        hessian: ``(in, in)``, the mean of ``x xᵀ`` over the inputs; errors are then means over them.
    """
    factor = inverse_factor(hessian, damping)
    scale, zero_point = (_per_entry(part, weight) for part in (params.scale, params.zero_point))
    states = [weight.float().clone()]
    for column in range(weight.shape[1]):
        now = states[-1].clone()
        integers = ((now[:, column] / scale[:, column]).round() + zero_point[:, column]).clamp(*params.range)
        rounded = (integers - zero_point[:, column]) * scale[:, column]
        error = (now[:, column] - rounded) / factor[column, column]
        if spread:
            now -= torch.outer(error, factor[column])
        now[:, column] = rounded
        states.append(now)
    changes = [state - weight for state in states]
    return GPTQTrace(torch.stack(states), tuple(((c @ hessian) * c).sum().item() for c in changes))


def _per_entry(part: Tensor, weight: Tensor) -> Tensor:
    """One value per block as ``(out, in)`` floats."""
    per_row = part.view(len(weight), -1).float()
    return per_row.repeat_interleave(weight.shape[1] // per_row.shape[1], dim=1)
