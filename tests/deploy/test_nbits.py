"""Packed models on MatMulNBits: the logits of the decoded model, from the codes of the file."""

import onnx
import pytest
import torch
from torch import nn

from course_lib import models, quantization, storage
from course_lib.deploy import export_nbits
from course_lib.quantization.weight_only import WeightScheme, round_to_nearest
from tests.deploy.conftest import relative_error
from tests.quantization.small_transformers import small, tokens

FP32_TOLERANCE = 1e-5  # of the largest logit, accuracy level 0
INT8_TOLERANCE = 2e-2  # accuracy level 4: inputs are rounded to 8 bits


@torch.no_grad()
def error(model, deployed, count=4):
    """Largest difference between the runtime and the decoded model, as a share of the largest logit."""
    inputs = tokens().example(count)
    return relative_error(deployed.runner(inputs)(), models.forward(model, inputs))


def constants(file):
    return {it.name: onnx.numpy_helper.to_array(it) for it in onnx.load(file).graph.initializer}


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "group"), [(2, 16), (4, 16), (4, 32), (8, 16), (8, 32), (4, None), (8, None)])
def test_logits_are_those_of_the_decoded_model(tmp_path, bits, group, symmetric):
    model = quantization.rtn(small("bert"), bits, group_size=group, symmetric=symmetric).model
    deployed = export_nbits(model, tokens().example(2), tmp_path / "bert.onnx", accuracy_level=0)
    assert error(model, deployed) < FP32_TOLERANCE
    assert deployed.kernels(tokens().example(1)).count("MatMulNBits") == 12


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_calibrated_models_run_from_the_codes_of_their_file(tmp_path, method):
    result = getattr(quantization, method)(small("bert"), tokens(), 4, group_size=16)
    loaded = storage.load(result.save(tmp_path / "bert.safetensors"))
    deployed = export_nbits(loaded, tokens().example(2), tmp_path / "bert.onnx", accuracy_level=0)
    assert error(loaded, deployed) < FP32_TOLERANCE
    stored = constants(deployed.file)
    for name, encoded in storage.encodings_of(loaded).items():
        assert stored[f"{name}_codes"].tobytes() == encoded.parts["codes"].numpy().tobytes()
        assert set(stored[f"{name}_scales"].flatten()) == set(encoded.parts["scales"].numpy())
    divided = [name for name in stored if name.startswith("divisor_")]
    assert bool(divided) == (method == "awq")


def test_inputs_of_eight_bits_are_close_but_not_equal(tmp_path):
    model = quantization.rtn(small("bert"), 4, group_size=16).model
    deployed = export_nbits(model, tokens().example(2), tmp_path / "bert.onnx", accuracy_level=4)
    assert FP32_TOLERANCE < error(model, deployed) < INT8_TOLERANCE


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
def test_language_models_store_a_tied_matrix_once(tmp_path, kind):
    model = quantization.rtn(small(kind), 4, group_size=16, embedding_bits=4).model
    model.config.use_cache = False
    deployed = export_nbits(model, tokens().example(2), tmp_path / "model.onnx", accuracy_level=0)
    assert error(model, deployed) < FP32_TOLERANCE
    kernels = deployed.kernels(tokens().example(1))
    assert "GatherBlockQuantized" in kernels and "MatMulNBits" in kernels
    assert len([name for name, it in constants(deployed.file).items() if it.shape[:1] == (200,)]) <= 3


def test_weights_beside_the_file_are_counted(tmp_path):
    model = quantization.rtn(small("bert"), 4, group_size=16).model
    inside = export_nbits(model, tokens().example(2), tmp_path / "a" / "bert.onnx", accuracy_level=0)
    beside = export_nbits(model, tokens().example(2), tmp_path / "b" / "bert.onnx", accuracy_level=0, beside=True)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["bert.onnx", "bert.onnx.data"]
    assert beside.file.stat().st_size < beside.stored_bytes
    assert abs(inside.stored_bytes - beside.stored_bytes) < 5000
    assert error(model, beside) < FP32_TOLERANCE
    again = export_nbits(model, tokens().example(2), beside.file, accuracy_level=0)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["bert.onnx"]
    assert again.stored_bytes == inside.stored_bytes


class OddProduct(nn.Module):
    """A linear layer, and a matrix that is used by no matrix product."""

    def __init__(self):
        super().__init__()
        self.linear, self.table = nn.Linear(16, 16), nn.Linear(16, 16, bias=False)

    def forward(self, x):
        return self.linear(x) * self.table.weight.sum(dim=0)


def test_a_weight_that_no_product_reads_is_named(tmp_path):
    torch.manual_seed(0)
    model = OddProduct()
    weights = {
        f"{name}.weight": round_to_nearest(model.get_submodule(name), WeightScheme(4, 16))
        for name in ("linear", "table")
    }
    quantization.set_weights(model, weights)
    with pytest.raises(ValueError, match=r"'table.weight' is read by no matrix product and no look-up"):
        export_nbits(model, torch.randn(2, 16), tmp_path / "odd.onnx")
    assert list(tmp_path.iterdir()) == []


class Branch(nn.Module):
    """A forward pass that depends on the values of its input."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x):
        return self.linear(x) if x.sum() > 0 else x


def test_bad_arguments_are_refused(tmp_path):
    model = quantization.rtn(small("bert"), 3, group_size=16).model
    with pytest.raises(ValueError, match="has 3 bits"):
        export_nbits(model, tokens().example(2), tmp_path / "bert.onnx")
    with pytest.raises(ValueError, match="accuracy_level must be one of 0, 4; got 2"):
        export_nbits(model, tokens().example(2), tmp_path / "bert.onnx", accuracy_level=2)
    branch = Branch()
    quantization.set_weights(branch, {"linear.weight": round_to_nearest(branch.linear, WeightScheme(4, 16))})
    with pytest.raises(ValueError, match="Branch cannot be exported to ONNX"):
        export_nbits(branch, torch.randn(2, 16), tmp_path / "branch.onnx")
    assert list(tmp_path.iterdir()) == []
