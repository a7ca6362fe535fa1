"""Sensitivity to bits: fewer bits do more damage, bytes are those of the file, and the weights are restored."""

from __future__ import annotations

import pytest
import torch

from course_lib import data, models, storage
from course_lib.quantization import quantize_tensor, set_weights
from course_lib.quantization.mixed_precision import bit_sensitivity, packed_bytes
from course_lib.quantization.mse_scale import best_weight_params


def split(name: str = "validation", examples: int = 64) -> data.Split:
    inputs = torch.randn(examples, 6, generator=torch.Generator().manual_seed(0))
    return data.Split("toy", name, inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": [6, 40, 20, 3]}})


def test_fewer_bits_do_more_damage_and_the_weights_are_restored(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    frame = bit_sensitivity(model, split(), (2, 4, 8), progress=False)
    assert list(frame.columns) == ["layer", "bits", "bytes", "damage"] and len(frame) == 9
    for _, rows in frame.groupby("layer"):
        damage = rows.sort_values("bits")["damage"].tolist()
        assert damage[0] > 3 * damage[1] > 9 * damage[2]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_bytes_are_those_of_the_file(model, tmp_path):
    weight = model[3].weight
    set_weights(model, {"3.weight": quantize_tensor(weight, best_weight_params(weight, 3))})
    record = next(
        one for one in storage.inspect(storage.save(model, tmp_path / "m.safetensors")) if one.name == "3.weight"
    )
    assert record.bytes == packed_bytes(weight, 3) == 40 * 20 * 3 // 8 + 4 * 20


def test_bad_input_is_refused(model):
    with pytest.raises(data.TestSplitError):
        bit_sensitivity(model, split("test"), progress=False)
    with pytest.raises(ValueError, match="empty"):
        bit_sensitivity(model, split(examples=0), progress=False)
    with pytest.raises(ValueError, match="from 2 to 8"):
        bit_sensitivity(model, split(), (1,), progress=False)
    with pytest.raises(ValueError, match="nowhere"):
        bit_sensitivity(model, split(), layers=["nowhere"], progress=False)
