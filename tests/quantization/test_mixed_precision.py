"""Mixed precision: the scan leaves the model alone, and the choice respects the budget and the damage."""

from __future__ import annotations

import itertools

import pandas
import pytest
import torch

from course_lib import data, models, storage
from course_lib.quantization import quantize_tensor, set_weights
from course_lib.quantization.bit_allocation import choose_bits
from course_lib.quantization.mixed_precision import bit_sensitivity, packed_bytes
from course_lib.quantization.mse_scale import best_weight_params


def split(name: str = "validation", examples: int = 64) -> data.Split:
    inputs = torch.randn(examples, 6, generator=torch.Generator().manual_seed(0))
    return data.Split("toy", name, inputs, inputs[:, :3].argmax(dim=1), ("a", "b", "c"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.build({"builder": "mlp", "arguments": {"sizes": [6, 40, 20, 3]}})


def test_fewer_bits_do_more_damage_and_the_weights_are_put_back(model):
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


def table(rows) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=["layer", "bits", "bytes", "damage"])


def test_the_layer_that_pays_least_per_byte_gives_up_its_bits():
    frame = table(
        [
            ("a", 8, 80, 0.0),
            ("a", 4, 40, 0.1),
            ("b", 8, 80, 0.0),
            ("b", 4, 40, 0.5),
            ("c", 8, 8, 0.0),
            ("c", 4, 4, 0.04),
        ]
    )
    assert choose_bits(frame, 200) == {"a": 8, "b": 8, "c": 8}
    assert choose_bits(frame, 130) == {"a": 4, "b": 8, "c": 8}
    assert choose_bits(frame, 124) == {"a": 4, "b": 8, "c": 4}
    assert choose_bits(frame, 84) == {"a": 4, "b": 4, "c": 4}
    with pytest.raises(ValueError, match="at least 84 bytes"):
        choose_bits(frame, 83)


def test_the_choice_is_near_the_best_of_all_choices():
    generator = torch.Generator().manual_seed(0)
    rows = []
    for layer in "abcde":
        size = int(torch.randint(10, 200, (), generator=generator))
        worst = float(torch.rand((), generator=generator))
        rows += [(layer, bits, size * bits, worst / 4**bits) for bits in (2, 3, 4, 8)]
    frame = table(rows)
    options = {
        layer: list(part[["bits", "bytes", "damage"]].itertuples(index=False)) for layer, part in frame.groupby("layer")
    }
    for share in (0.3, 0.5, 0.8):
        budget = int(share * frame[frame["bits"] == 8]["bytes"].sum())
        fitting = [combo for combo in itertools.product(*options.values()) if sum(one.bytes for one in combo) <= budget]
        best = min(sum(one.damage for one in combo) for combo in fitting)
        chosen = choose_bits(frame, budget)
        ours = [next(one for one in options[layer] if one.bits == bits) for layer, bits in chosen.items()]
        assert sum(one.bytes for one in ours) <= budget
        assert sum(one.damage for one in ours) <= 3 * best + 1e-9


def test_bad_input_is_said(model):
    with pytest.raises(data.TestSplitError):
        bit_sensitivity(model, split("test"), progress=False)
    with pytest.raises(ValueError, match="empty"):
        bit_sensitivity(model, split(examples=0), progress=False)
    with pytest.raises(ValueError, match="from 2 to 8"):
        bit_sensitivity(model, split(), (1,), progress=False)
    with pytest.raises(ValueError, match="nowhere"):
        bit_sensitivity(model, split(), layers=["nowhere"], progress=False)
