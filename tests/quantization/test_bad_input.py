"""Bad input of every entry point: the error names it, the model is not changed, and no file is written."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from course_lib import quantization as q
from course_lib.data import TestSplitError
from tests.quantization.conftest import images

FAST = {"epochs": 1, "learning_rate": 0.01, "batch_size": 16, "progress": False}
ENTRY_POINTS = {
    "weights": lambda model, split, folder: q.quantize_weights(model),
    "ptq": lambda model, split, folder: q.post_training_quantization(model, split),
    "adaround": lambda model, split, folder: q.adaround(model, split, examples=16, iterations=2, progress=False),
    "qat": lambda model, split, folder: q.train_quantized(model, split, **FAST),
    "sensitivity": lambda model, split, folder: q.bit_sensitivity(model, split, (4,), progress=False),
    "sweep": lambda model, split, folder: list(q.bits_scan(model, split, bits=(4,))),
    "static": lambda model, split, folder: q.deploy_static(model, split, folder / "static.onnx"),
    "quantizer": lambda model, split, folder: q.AdvancedQuantizer(model, split).post_training_quantization(),
}
CALIBRATED = [entry for entry in ENTRY_POINTS if entry not in ("weights", "sweep")]


def state(model):
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    return tensors, [(module.training, len(module._forward_hooks)) for module in model.modules()]


def same(before, after):
    tensors = all(torch.equal(before[0][name], value) or value.isnan().any() for name, value in after[0].items())
    return tensors and before[0].keys() == after[0].keys() and before[1] == after[1]


def refused(entry, model, split, folder, message, kind=ValueError):
    before = state(model)
    with pytest.raises(kind, match=message):
        ENTRY_POINTS[entry](model, split, folder)
    assert same(before, state(model)), "the model was changed"
    assert list(folder.iterdir()) == [], "a file was written"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_a_bad_weight_is_named_and_nothing_is_changed(entry, bad, small, split, tmp_path):
    with torch.no_grad():
        small.fc.weight[0, 0] = bad
    layer = "" if entry == "static" else "layer 'fc': "
    refused(entry, small.train(), split, tmp_path, f"{layer}.*NaN or infinity")


@pytest.mark.parametrize("entry", [entry for entry in CALIBRATED if entry != "sensitivity"])
def test_bad_activations_are_named_and_nothing_is_changed(entry, small, split, tmp_path):
    with torch.no_grad():
        small.block.bn2.bias[0] = float("nan")
    refused(entry, small.train(), split, tmp_path, "NaN or infinity")


@pytest.mark.parametrize("entry", CALIBRATED)
def test_an_empty_split_and_the_test_split_are_refused(entry, small, split, tmp_path):
    empty = replace(split, inputs=split.inputs[:0], labels=split.labels[:0])
    refused(entry, small.train(), empty, tmp_path, "empty")
    refused(entry, small, images("test"), tmp_path, "the test split of made up must not be", TestSplitError)


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_a_model_without_layers_to_quantize_is_refused(entry, split, tmp_path):
    refused(entry, nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), split, tmp_path, "no convolution or linear layer")


@pytest.mark.parametrize("bits", [1, 9, 4.0, True])
def test_bits_outside_the_range_are_refused(bits, small, split):
    before, message = state(small), "bits must be an integer from 2 to 8"
    for call in (
        lambda: q.quantize_weights(small, q.Scheme(bits)),
        lambda: q.post_training_quantization(small, split, activation_bits=bits),
        lambda: q.adaround(small, split, bits=bits, progress=False),
        lambda: q.train_quantized(small, split, input_bits=bits, **FAST),
        lambda: q.bit_sensitivity(small, split, (bits,), progress=False),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert same(before, state(small))


@pytest.mark.parametrize("entry", [entry for entry in ENTRY_POINTS if entry not in ("sweep", "static")])
def test_constant_weights_and_constant_images_are_accepted(entry, small, split, tmp_path):
    with torch.no_grad():
        small.fc.weight.fill_(0.25)
        small.block.conv1.weight.zero_()
    black = replace(split, inputs=torch.zeros_like(split.inputs))
    result = ENTRY_POINTS[entry](copy.deepcopy(small), black, tmp_path)
    if isinstance(result, q.QuantizationResult):
        weight = result.model.fc.weight
        assert weight.isfinite().all()
        assert entry == "qat" or torch.allclose(weight, torch.tensor(0.25), rtol=0.01)
