"""What all weight-only methods share: exact files, clear errors, and originals that are not changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib import data, quantization, storage
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


def test_constant_weights_are_not_changed():
    model = small("llama")
    model.model.layers[0].mlp.down_proj.weight.data.zero_()
    for method in ("rtn", "gptq", "awq"):
        result = METHODS[method](model, tokens())
        assert result.model.model.layers[0].mlp.down_proj.weight.abs().max() == 0
