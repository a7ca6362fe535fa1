"""NF4: the published codebook, true sizes, and less error than four uniform bits on normal weights."""

from __future__ import annotations

import math

import pytest
import torch

from course_lib import models, storage
from course_lib.quantization import (
    nf4,
    nf4_table,
    quantize_tensor,
    quantized_weights,
    set_weights,
    sqnr_db,
    unpack,
    weight_params,
)

MLP = {"builder": "mlp", "arguments": {"sizes": [64, 48, 10]}}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_the_nf4_table_is_the_published_one():
    published = [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0,
                 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]  # fmt: skip
    assert nf4_table().tolist() == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("shape", [(3, 64), (96, 256), (513, 64)])
def test_nf4_beats_four_uniform_bits_on_normal_weights_and_counts_its_scales(tmp_path, shape, double):
    w = torch.randn(shape) / 10
    encoded = nf4(w, double=double)
    groups = w.numel() // 64
    blocks = math.ceil(groups / 256)
    scales = groups + 5 * blocks if double else 4 * groups
    assert encoded.bytes == w.numel() // 2 + 64 + scales
    uniform = quantize_tensor(w, weight_params(w, 4, "group", group_size=64)).values()
    assert sqnr_db(w, storage.decode(encoded)) > sqnr_db(w, uniform) + 0.5


def test_nf4_in_a_model_is_stored_and_loaded(tmp_path):
    model = models.build(MLP)
    set_weights(model, {"1.weight": nf4(model.get_parameter("1.weight"))})
    loaded = storage.load(storage.save(model, tmp_path / "nf4.safetensors"))
    x = torch.randn(4, 64)
    assert torch.equal(models.forward(loaded, x), models.forward(model, x))
    assert quantized_weights(loaded) == {}
    with pytest.raises(ValueError, match="must be 'packed', got 'codebook'"):
        unpack(storage.encodings_of(loaded)["1.weight"])


def test_nf4_refuses_groups_that_do_not_divide_and_zeros_are_exact():
    with pytest.raises(ValueError, match="group_size must be a divisor of the 10 inputs"):
        nf4(torch.randn(4, 10))
    with pytest.raises(ValueError, match="weight is empty"):
        nf4(torch.empty(0, 64))
    assert torch.equal(storage.decode(nf4(torch.zeros(2, 64))), torch.zeros(2, 64))
