"""RTN, GPTQ, AWQ, SmoothQuant and kept columns: exact files, smaller errors, clear refusals, untouched originals."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib import data, quantization, storage
from course_lib.architectures import input_quantizers
from course_lib.quantization import (
    LayerInputs,
    WeightScheme,
    clipped_params,
    fake_quantize,
    gptq_matrix,
    inverse_factor,
    search_scales,
)
from course_lib.training.sequential_calibration import set_weight_matrix
from tests.quantization.small_transformers import KINDS, small, tokens

METHODS = {
    "rtn": lambda model, split, **more: quantization.rtn(model, 3, group_size=16, **more),
    "gptq": lambda model, split, **more: quantization.gptq(model, split, 3, group_size=16, **more),
    "awq": lambda model, split, **more: quantization.awq(model, split, 3, group_size=16, **more),
    "awq unfolded": lambda model, split, **more: quantization.awq(model, split, 3, group_size=16, fold=False, **more),
    "smoothquant": lambda model, split, **more: quantization.smoothquant(model, split, **more),
    "kept": lambda model, split, **more: quantization.keep_salient(
        model, split, 3, group_size=16, fraction=0.05, **more
    ),
}


def seen(rows):
    inputs = LayerInputs.empty(rows.shape[1])
    inputs.add(rows)
    return inputs


def correlated(count=200, width=32):
    """Inputs of which some are large, and which move together."""
    torch.manual_seed(1)
    mixed = torch.randn(count, width) @ torch.randn(width, width)
    return mixed * torch.logspace(-1, 0.5, width)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_the_file_gives_the_same_logits_bit_for_bit_and_the_original_stays(kind, method, tmp_path):
    model, split = small(kind), tokens()
    before = copy.deepcopy(model.state_dict())
    result = METHODS[method](model, split)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    path = result.save(tmp_path / "model.safetensors")
    with torch.no_grad():
        expected, found = (each(**split.inputs).logits for each in (result.model, storage.load(path)))
    assert torch.equal(expected, found)
    assert len(result.report) == len(quantization.linear_layers(model))


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_the_blocks_is_packed_and_the_embeddings_too(kind, tmp_path):
    result = quantization.gptq(small(kind), tokens(), 4, group_size=16, embedding_bits=4)
    records = {record.name: record for record in storage.inspect(result.save(tmp_path / "model.safetensors"))}
    layers = [f"{name}.weight" for name in quantization.linear_layers(result.model)]
    assert {records[name].encoding for name in layers} == {"packed"}
    large = [record for record in records.values() if len(record.shape) == 2 and record.sparsity < 1]
    assert {record.encoding for record in large if record.shape[0] * record.shape[1] >= 4096} <= {"packed", "shared"}


def test_bits_in_the_file_are_the_bits_that_were_asked_for(tmp_path):
    result = quantization.rtn(small("llama"), 2, group_size=32)
    record = next(it for it in storage.inspect(result.save(tmp_path / "m.safetensors")) if "down_proj" in it.name)
    assert record.bytes == 64 * 32 * 2 // 8 + 64 * (2 * 8 + 2) // 8  # codes, and a scale and a zero-point per group


@pytest.mark.parametrize("bits", [4, 3, 2])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("act_order", [False, True])
def test_gptq_leaves_a_smaller_output_error_than_rounding_to_nearest(bits, symmetric, act_order):
    rows, weight = correlated(), torch.randn(24, 32)
    scheme, inputs = WeightScheme(bits, 16, symmetric), seen(rows)
    params = scheme.params(weight)
    nearest = inputs.output_error(fake_quantize(weight, params) - weight)
    found = gptq_matrix(weight, inputs.hessian, params, act_order=act_order)
    assert inputs.output_error(found.values() - weight) < 0.95 * nearest


def test_gptq_is_what_solving_for_the_free_columns_gives():
    """Each step leaves the later columns at the least-squares optimum (OBQ, Frantar and Alistarh, 2022)."""
    rows, weight = correlated(), torch.randn(3, 32)
    inputs, params = seen(rows), WeightScheme(3, None).params(weight)
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
    rows, weight = correlated(), torch.randn(24, 32)
    params, hessian = WeightScheme(3, 16).params(weight), seen(rows).hessian
    whole = gptq_matrix(weight, hessian, params)
    monkeypatch.setitem(gptq_matrix.__globals__, "LAZY_BLOCK", 5)
    assert (whole.integers == gptq_matrix(weight, hessian, params).integers).float().mean() > 0.99


@pytest.mark.parametrize("method", [quantization.gptq, quantization.awq])
def test_biases_take_over_the_mean_of_the_error_where_there_are_any(method):
    model, split = small("bert"), tokens()
    plain, corrected = (method(model, split, 2, group_size=16, correct=correct) for correct in (False, True))
    first = "bert.encoder.layer.0.attention.self.query"
    assert corrected.report.loc[first, "output_error"] < plain.report.loc[first, "output_error"]
    kept, moved = (result.model.get_submodule(first).bias for result in (plain, corrected))
    assert torch.equal(kept, model.get_submodule(first).bias)
    assert not torch.equal(moved, kept) and torch.equal(moved, moved.half().float())


def test_a_llama_has_no_biases_to_correct():
    model, split = small("llama"), tokens()
    plain, corrected = (quantization.gptq(model, split, 3, group_size=16, correct=each) for each in (False, True))
    for before, after in zip(plain.model.parameters(), corrected.model.parameters(), strict=True):
        assert torch.equal(before, after)


def test_inputs_that_are_always_zero_neither_break_gptq_nor_move_their_weights():
    rows, weight = correlated(), torch.randn(4, 32)
    rows[:, 5] = 0
    params = WeightScheme(4, None).params(weight)
    found = gptq_matrix(weight, seen(rows).hessian, params)
    assert torch.equal(found.values()[:, 5], fake_quantize(weight, params)[:, 5])


def test_too_few_samples_without_damping_are_named_as_the_cause():
    with pytest.raises(ValueError, match=r"cannot be inverted with damping 0.*calibration rows.*samples, or a larger"):
        quantization.gptq(small("llama"), tokens(count=1, length=8), 4, group_size=16, damping=0.0)
    with pytest.raises(ValueError, match="damping must be at least 0, got -1"):
        inverse_factor(torch.eye(3), -1)


def test_the_factor_is_the_upper_cholesky_factor_of_the_damped_inverse():
    hessian = seen(correlated()).hessian
    upper = inverse_factor(hessian, 0.1).double()
    damped = hessian.double() + 0.1 * hessian.double().diagonal().mean() * torch.eye(32)
    torch.testing.assert_close(upper.T @ upper @ damped, torch.eye(32, dtype=torch.float64), atol=1e-3, rtol=0)
    assert torch.equal(upper, upper.triu())


def test_clipping_never_hurts_the_block_error_and_helps_where_there_is_an_outlier():
    torch.manual_seed(0)
    weight = torch.randn(8, 32)
    weight[:, 3] *= 8
    scheme, hessian = WeightScheme(3, 32), torch.eye(32)
    errors = [
        (fake_quantize(weight, params) - weight).square().sum()
        for params in (scheme.params(weight), clipped_params(weight, scheme, hessian))
    ]
    assert errors[1] < 0.9 * errors[0]


def test_the_scale_search_starts_at_rounding_to_nearest_and_finds_better():
    rows, weight = correlated(), torch.randn(24, 32)
    scheme, inputs = WeightScheme(3, 16), seen(rows)
    found = search_scales(weight, inputs, scheme)
    nearest = inputs.output_error(fake_quantize(weight, scheme.params(weight)) - weight)
    assert found.errors[0] == pytest.approx(nearest)
    assert min(found.errors) < 0.9 * nearest and found.alpha == found.alphas[found.errors.index(min(found.errors))]
    assert torch.equal(found.scales, found.scales.half().float())


@pytest.mark.parametrize("kind", ["llama", "opt", "gpt2", "bert"])
def test_folding_moves_the_factors_and_leaves_the_function(kind):
    from course_lib.quantization.scale_folding import fold_divisor, previous_layer

    model, split = small(kind), tokens()
    with torch.no_grad():
        before = model(**split.inputs).logits
        folded = []

        def fold(stage, inputs):
            factors = torch.linspace(0.5, 2, stage.width).half().float()
            if previous_layer(model, stage) is not None:
                assert fold_divisor(model, stage, factors)
                folded.append(next(iter(stage.layers)))
                for layer in stage.layers.values():
                    set_weight_matrix(layer, quantization.weight_matrix(layer) * factors)

        quantization.walk(model, quantization.calibration_batches(split), fold)
        after = model(**split.inputs).logits
    assert len(folded) == {"llama": 8, "opt": 8, "gpt2": 4, "bert": 2}[kind]
    torch.testing.assert_close(after, before, rtol=2e-2, atol=2e-2)


def test_opt_folds_only_through_relu_and_only_where_the_norm_comes_first():
    from course_lib.quantization.scale_folding import previous_layer

    model = small("opt")
    model.config.activation_function, model.config.do_layer_norm_before = "gelu", False
    found = {}
    quantization.walk(
        model,
        quantization.calibration_batches(tokens()),
        lambda stage, inputs: found.setdefault(
            next(iter(stage.layers)).split(".", 4)[-1], previous_layer(model, stage)
        ),
    )
    assert [name for name, layer in found.items() if layer is not None] == ["self_attn.out_proj"]


def test_smoothing_makes_ranges_alike_and_the_grids_are_in_the_file(tmp_path):
    model, split = small("llama"), tokens()
    result = quantization.smoothquant(model, split, alpha=0.5)
    again = storage.load(result.save(tmp_path / "m.safetensors"))
    assert set(input_quantizers.input_grids(again)) == set(quantization.linear_layers(model))
    largest = quantization.smoothing_factors(torch.tensor([1.0, 100.0]), torch.tensor([1.0, 1.0]), 0.5)
    assert (largest[1] / largest[0]).item() == pytest.approx(10, rel=1e-2)


def test_smoothing_helps_where_one_channel_is_far_larger():
    model, split = small("llama"), tokens()
    for block in model.model.layers:
        for norm in (block.input_layernorm, block.post_attention_layernorm):
            norm.weight.data[3] *= 100
    with torch.no_grad():
        exact = model(**split.inputs).logits
        plain, smooth = (
            (quantization.smoothquant(model, split, alpha=alpha).model(**split.inputs).logits - exact).norm()
            for alpha in (None, 0.5)
        )
    assert smooth < 0.7 * plain


def test_kept_columns_come_back_as_they_were():
    model, split = small("gpt2"), tokens()
    result = quantization.keep_salient(model, split, 2, by="weight", fraction=0.05, group_size=16)
    name, layer = next(iter(quantization.linear_layers(model).items()))
    now = quantization.weight_matrix(quantization.linear_layers(result.model)[name])
    same = (now == quantization.weight_matrix(layer)).all(dim=0)
    assert same.sum() == 2 and same[quantization.weight_matrix(layer).norm(dim=0).topk(2).indices].all()


@pytest.mark.parametrize("method", [name for name in METHODS if name != "rtn"])
def test_what_cannot_be_quantized_is_refused_and_nothing_is_changed(method):
    model = small("llama")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(data.TestSplitError):
        METHODS[method](model, tokens("test"))
    with pytest.raises(ValueError, match="at least one example"):
        METHODS[method](model, tokens(count=0))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_arguments_out_of_range_name_what_is_allowed():
    model, split = small("llama"), tokens()
    for bits in (1, 9, 4.0):
        with pytest.raises(ValueError, match="bits must be an integer from 2 to 8"):
            quantization.gptq(model, split, bits)
    with pytest.raises(ValueError, match="group_size must be a divisor of the inputs of every layer, got 48"):
        quantization.awq(model, split, group_size=48)
    with pytest.raises(ValueError, match="bits must be an integer from 2 to 8, got 1"):
        quantization.rtn(model, 4, group_size=16, embedding_bits=1)
    with pytest.raises(ValueError, match="by must be one of"):
        quantization.keep_salient(model, split, by="luck")
    with pytest.raises(ValueError, match="alpha must lie in"):
        quantization.smoothquant(model, split, alpha=2.0)
    with pytest.raises(ValueError, match="has no linear layers"):
        quantization.rtn(nn.Sequential(nn.Conv2d(3, 3, 3)))


def test_weights_that_are_not_finite_are_named():
    model = small("llama")
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"layers.1.mlp.down_proj.*NaN or infinity"):
        quantization.gptq(model, tokens(), 4, group_size=16)


def test_constant_weights_stay_what_they_are():
    model = small("llama")
    model.model.layers[0].mlp.down_proj.weight.data.zero_()
    for method in ("rtn", "gptq", "awq"):
        result = METHODS[method](model, tokens())
        assert result.model.model.layers[0].mlp.down_proj.weight.abs().max() == 0
