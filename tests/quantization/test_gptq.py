"""GPTQ against its definition: least squares over the remaining columns, and less error than rounding to nearest."""

from __future__ import annotations

import pytest
import torch

from course_lib import quantization
from course_lib.quantization import WeightScheme, fake_quantize, gptq_matrix, gptq_trace
from tests.quantization.small_transformers import correlated_rows, small, statistics, tokens


@pytest.mark.parametrize("bits", [4, 3, 2])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("act_order", [False, True])
def test_gptq_leaves_a_smaller_output_error_than_rounding_to_nearest(bits, symmetric, act_order):
    rows, weight = correlated_rows(), torch.randn(24, 32)
    scheme, inputs = WeightScheme(bits, 16, symmetric), statistics(rows)
    params = scheme.params(weight)
    nearest = inputs.output_error(fake_quantize(weight, params) - weight)
    found = gptq_matrix(weight, inputs.hessian, params, act_order=act_order)
    assert inputs.output_error(found.values() - weight) < 0.95 * nearest


def test_gptq_is_what_solving_for_the_free_columns_gives():
    """Each step leaves the later columns at the least-squares optimum (OBQ, Frantar and Alistarh, 2022)."""
    rows, weight = correlated_rows(), torch.randn(3, 32)
    inputs, params = statistics(rows), WeightScheme(3, None).params(weight)
    hessian = inputs.hessian.double()
    free, fixed = weight.double().clone(), torch.zeros(3, 32, dtype=torch.float64)
    for column in range(32):
        fixed[:, column] = fake_quantize(free.float(), params)[:, column].double()
        later = slice(column + 1, 32)
        done = slice(0, column + 1)
        gap = weight.double()[:, done] - fixed[:, done]
        if column < 31:
            move = torch.linalg.solve(hessian[later, later], hessian[later, done] @ gap.T).T
            free[:, later] = weight.double()[:, later] + move
    found = gptq_matrix(weight, inputs.hessian, params, damping=0.0, act_order=False)
    assert (found.values().double() - fixed).abs().max() < 1e-5


def test_blocks_of_columns_give_what_single_columns_give(monkeypatch):
    rows, weight = correlated_rows(), torch.randn(24, 32)
    params, hessian = WeightScheme(3, 16).params(weight), statistics(rows).hessian
    whole = gptq_matrix(weight, hessian, params)
    monkeypatch.setitem(gptq_matrix.__globals__, "LAZY_BLOCK", 5)
    assert (whole.integers == gptq_matrix(weight, hessian, params).integers).float().mean() > 0.99


def test_inputs_that_are_always_zero_neither_break_gptq_nor_move_their_weights():
    rows, weight = correlated_rows(), torch.randn(4, 32)
    rows[:, 5] = 0
    params = WeightScheme(4, None).params(weight)
    found = gptq_matrix(weight, statistics(rows).hessian, params)
    assert torch.equal(found.values()[:, 5], fake_quantize(weight, params)[:, 5])


def test_too_few_samples_without_damping_are_named_as_the_cause():
    with pytest.raises(ValueError, match=r"cannot be inverted with damping 0.*calibration rows.*samples, or a larger"):
        quantization.gptq(small("llama"), tokens(count=1, length=8), 4, group_size=16, damping=0.0)


@pytest.mark.parametrize("group_size", [None, 16])
def test_the_trace_ends_at_the_quantized_matrix_and_without_spreading_at_rounding_to_nearest(group_size):
    weight, inputs = torch.randn(8, 32, generator=torch.Generator().manual_seed(0)), statistics(correlated_rows())
    params, hessian = WeightScheme(3, group_size).params(weight), inputs.hessian / inputs.count
    trace, nearest = (gptq_trace(weight, hessian, params, spread=spread) for spread in (True, False))
    expected = gptq_matrix(weight, hessian, params, act_order=False).values()
    assert (trace.states[-1] == expected).float().mean() > 0.99
    assert torch.equal(nearest.states[-1], fake_quantize(weight, params))
    assert trace.errors[0] == 0 and trace.errors[-1] < nearest.errors[-1]
    assert torch.equal(trace.correction(5)[:, :5], torch.zeros(8, 5)) and trace.correction(5)[:, 5:].any()
    assert not trace.correction(0).any() and not nearest.correction(5).any()
