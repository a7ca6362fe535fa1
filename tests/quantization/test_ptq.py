"""Post-training quantization of a model: accuracy, files, reports and errors."""

import copy

import pytest
import torch
from torch import nn

from course_lib import models, storage
from course_lib.architectures import input_quantizers
from course_lib.data import TestSplitError
from course_lib.quantization import (
    OBSERVERS,
    Scheme,
    calibrate,
    correct_bias,
    output_report,
    post_training_quantization,
    quantize_activations,
    quantize_weights,
    quantized_weights,
)
from tests.quantization.conftest import images


@torch.no_grad()
@pytest.mark.parametrize("method", OBSERVERS)
def test_eight_bits_change_outputs_little_and_are_loaded_from_the_file(small, split, tmp_path, method):
    before = copy.deepcopy(small.state_dict())
    result = post_training_quantization(small, split, method=method)
    x = split.example(32)
    error = (result.model(x) - small(x)).square().mean() / small(x).var()
    assert error < 0.01
    loaded = storage.load(storage.save(result.model, tmp_path / "w8a8.safetensors"))
    assert torch.equal(loaded(x), result.model(x))
    assert input_quantizers.input_grids(loaded).keys() == {"conv", "block.conv1", "block.conv2", "fc"}
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_the_report_has_a_row_for_each_weight(small, split):
    result = post_training_quantization(small, split, overrides={"fc": Scheme(bits=4)}, activation_bits=None)
    report = result.report.set_index("tensor")
    assert list(report.index) == ["conv.weight", "block.conv1.weight", "block.conv2.weight", "fc.weight"]
    assert report.bits.tolist() == [8, 8, 8, 4]
    assert report.loc["fc.weight", "bytes"] == 80 // 2 + 4 * 10
    assert report.loc["fc.weight", "sqnr_db"] < 30 < report.loc["conv.weight", "sqnr_db"]
    assert input_quantizers.input_grids(result.model) == {}


def test_corrected_biases_are_in_the_result(small, split):
    rough = post_training_quantization(small, split, weights=Scheme(bits=3))
    repaired = post_training_quantization(small, split, weights=Scheme(bits=3), corrected=True)
    assert not torch.equal(rough.model.fc.bias, repaired.model.fc.bias)


def test_embeddings_are_quantized_where_asked_for():
    model = models.build({
        "builder": "bert",
        "arguments": {
            "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 12,
        },
    })  # fmt: skip
    word = "bert.embeddings.word_embeddings.weight"
    assert word not in quantized_weights(quantize_weights(model))
    packed = quantized_weights(quantize_weights(model, Scheme(4, "group", 8), embeddings=Scheme(8)))
    assert packed[word].params.scale.numel() == 50
    assert packed["classifier.weight"].params.group_size == 8


def test_the_test_split_and_an_empty_one_are_refused(small, split):
    empty = images(count=1).__class__("made up", "train", torch.empty(0, 12, 12), torch.empty(0).long(), ("a",))
    folded = small
    for run in (
        lambda part: post_training_quantization(small, part),
        lambda part: calibrate(small, part),
        lambda part: correct_bias(small, folded, part),
        lambda part: output_report(small, folded, part),
    ):
        with pytest.raises(TestSplitError, match="must not be used for calibration"):
            run(images("test"))
        with pytest.raises(ValueError, match="is empty"):
            run(empty)


def test_a_model_without_anything_to_quantize_is_refused(split):
    with pytest.raises(ValueError, match="Sequential has no convolution or linear layer to quantize"):
        post_training_quantization(nn.Sequential(nn.Flatten()), split)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": Scheme(bits=9)}, "layer 'conv': bits must be an integer from 2 to 8, got 9"),
        ({"activation_bits": 1}, "bits must be an integer from 2 to 8, got 1"),
        ({"weights": Scheme(4, "group", 64)}, "layer 'conv': group_size must be a divisor of the 27 inputs"),
        ({"layers": ["nowhere"]}, "layers names 'nowhere'"),
        ({"overrides": {"bn": Scheme()}}, "overrides names 'bn'"),
        ({"method": "median"}, "method must be one of"),
    ],
)
def test_bad_options_name_the_layer_and_change_nothing(small, split, options, message):
    before = copy.deepcopy(small.state_dict())
    with pytest.raises(ValueError, match=message):
        post_training_quantization(small, split, **options)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in small.modules())


def test_nan_is_found_in_weights_and_in_activations(small, split):
    with torch.no_grad():
        small.block.conv2.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"layer 'block\.conv2': weight holds NaN or infinity in 1 of"):
        quantize_weights(small)
    with pytest.raises(ValueError, match="input of layer 'fc': x holds NaN"):
        calibrate(small, split)


def test_an_activation_has_one_scale(small):
    with pytest.raises(ValueError, match="params of 'fc' must be one scale"):
        quantize_activations(small, {"fc": quantized_weights(quantize_weights(small))["fc.weight"].params})
