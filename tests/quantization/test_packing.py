"""Quantized models in a file: true sizes, the same logits, and encodings that must match the weights."""

import copy
import math

import pytest
import torch

from course_lib import models, storage
from course_lib.quantization import (
    dequantize,
    pack,
    quantize_tensor,
    quantized_bytes,
    quantized_weights,
    set_weights,
    unpack,
    weight_params,
)

MLP = {"builder": "mlp", "arguments": {"sizes": [64, 48, 10]}}
BERT = {
    "builder": "bert",
    "arguments": {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 12,
    },
}  # fmt: skip
TOKENS = {"input_ids": torch.arange(16).reshape(2, 8), "attention_mask": torch.ones(2, 8, dtype=torch.long)}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def quantize_all(model, bits=4, **how):
    """Every matrix of a copy of ``model``, embeddings included."""
    weights = {name: value for name, value in model.named_parameters() if value.dim() > 1}
    return set_weights(
        copy.deepcopy(model), {name: quantize_tensor(w, weight_params(w, bits, **how)) for name, w in weights.items()}
    )


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("granularity", "group_size"), [("per_tensor", None), ("per_channel", None), ("group", 8)])
def test_a_packed_tensor_comes_back_bit_for_bit(bits, symmetric, granularity, group_size):
    for shape, axis in [((6, 16), 0), ((16, 5), 1), ((3, 8, 1, 1), 0), ((7, 8), 0)]:
        w = torch.randn(shape)
        params = weight_params(w, bits, granularity, group_size=group_size, symmetric=symmetric, axis=axis)
        quantized = quantize_tensor(w, params)
        encoded = pack(quantized)
        assert torch.equal(storage.decode(encoded), quantized.values())
        again = unpack(encoded)
        assert torch.equal(again.integers, quantized.integers)
        assert torch.equal(dequantize(again.integers, again.params), quantized.values())
        zeros = 0 if symmetric else math.ceil(len(params.scale) * bits / 8)
        assert encoded.bytes == math.ceil(w.numel() * bits / 8) + 4 * len(params.scale) + zeros


@pytest.mark.parametrize(("architecture", "inputs"), [(MLP, torch.randn(4, 64)), (BERT, TOKENS)])
@pytest.mark.parametrize("how", [{}, {"granularity": "group", "group_size": 8, "symmetric": False}])
def test_a_loaded_model_gives_the_same_logits_bit_for_bit(tmp_path, architecture, inputs, how):
    model = quantize_all(models.build(architecture), **how)
    loaded = storage.load(storage.save(model, tmp_path / "packed.safetensors"))
    with torch.no_grad():
        assert torch.equal(models.forward(loaded, inputs), models.forward(model, inputs))
    assert quantized_weights(loaded).keys() == quantized_weights(model).keys()
    again = storage.save(loaded, tmp_path / "again.safetensors")
    assert again.read_bytes() == (tmp_path / "packed.safetensors").read_bytes()


def test_the_file_is_as_small_as_the_bits_say(tmp_path):
    model = models.build({"builder": "mlp", "arguments": {"sizes": [512, 512, 10]}})
    dense = storage.stored_bytes(storage.save(model, tmp_path / "dense.safetensors"))
    packed = storage.stored_bytes(storage.save(quantize_all(model, bits=4), tmp_path / "packed.safetensors"))
    assert 7.5 < dense / packed < 8


def test_scales_that_fp16_holds_take_two_bytes():
    w = torch.randn(32, 64)
    sizes = [
        pack(quantize_tensor(w, weight_params(w, 4, "group", group_size=16, scale_dtype=dtype))).bytes
        for dtype in ("fp32", "fp16")
    ]
    assert sizes == [1024 + 4 * 128, 1024 + 2 * 128]
    assert quantized_bytes({"w": quantize_tensor(w, weight_params(w, 4))}) == 1024 + 4 * 32


def test_storage_reads_a_packed_file_without_quantization(tmp_path):
    import subprocess
    import sys

    path = storage.save(quantize_all(models.build(MLP)), tmp_path / "packed.safetensors")
    code = f"import sys\nfrom course_lib import storage\nstorage.load({str(path)!r})\n"
    code += "print('course_lib.quantization' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"


def test_weights_that_were_changed_afterwards_are_not_stored_with_their_old_encoding(tmp_path):
    model = quantize_all(models.build(MLP))
    with torch.no_grad():
        model.get_parameter("1.weight").mul_(2)
    with pytest.raises(ValueError, match=r"'1.weight' holds other values than the model"):
        storage.save(model, tmp_path / "stale.safetensors")
    storage.set_encodings(model, {})
    assert storage.inspect(storage.save(model, tmp_path / "auto.safetensors"))[0].encoding == "bitmask"


def test_encodings_are_copied_with_a_model_and_extended_by_set_weights():
    model = quantize_all(models.build(MLP))
    assert set(quantized_weights(copy.deepcopy(model))) == {"1.weight", "3.weight"}
    bias = quantize_tensor(model.get_parameter("1.bias"), weight_params(model.get_parameter("1.bias"), 8, "per_tensor"))
    assert set(quantized_weights(set_weights(model, {"1.bias": bias}))) == {"1.weight", "3.weight", "1.bias"}


def test_wrong_names_and_shapes_change_nothing():
    model = models.build(MLP)
    before = copy.deepcopy(model.state_dict())
    good = quantize_tensor(torch.randn(48, 64), weight_params(torch.randn(48, 64), 4))
    for name in ("nowhere.weight", "3.weight"):
        with pytest.raises(ValueError, match=f"weights names '{name}'"):
            set_weights(model, {"1.weight": good, name: good})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert storage.encodings_of(model) == {}


def test_tied_weights_are_stored_once_under_any_of_their_names(tmp_path):
    model = models.build({"builder": "mlp", "arguments": {"sizes": [16, 16, 16]}})
    model.get_submodule("3").weight = model.get_submodule("1").weight
    w = model.get_parameter("1.weight")
    set_weights(model, {"3.weight": quantize_tensor(w, weight_params(w, 4))})
    records = {r.name: r for r in storage.inspect(storage.save(model, tmp_path / "tied.safetensors"))}
    assert (records["1.weight"].encoding, records["3.weight"].encoding) == ("packed", "shared")
