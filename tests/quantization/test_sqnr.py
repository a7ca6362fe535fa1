"""Signal-to-quantization-noise ratio of tensors and of layer outputs."""

from __future__ import annotations

import pytest
import torch

from course_lib.quantization import (
    QuantizedTensor,
    Scheme,
    output_report,
    post_training_quantization,
    quantize_tensor,
    sqnr_db,
    weight_params,
)


def test_sqnr_is_six_decibels_for_a_bit():
    torch.manual_seed(0)
    w = torch.rand(20_000) * 2 - 1
    decibels = [sqnr_db(w, quantize_tensor(w, weight_params(w, b, "per_tensor")).values()) for b in (6, 7, 8)]
    assert decibels[1] - decibels[0] == pytest.approx(6.02, abs=0.3)
    assert decibels[2] - decibels[1] == pytest.approx(6.02, abs=0.3)
    assert sqnr_db(w, w) == float("inf")
    assert isinstance(quantize_tensor(w, weight_params(w, 8, "per_tensor")), QuantizedTensor)


def test_more_bits_mean_less_noise_in_every_layer(small, split):
    reports = [
        output_report(result.exact, result.model, split).set_index("layer").sqnr_db
        for result in (post_training_quantization(small, split, weights=Scheme(bits=bits)) for bits in (8, 4))
    ]
    assert (reports[0] > reports[1] + 10).all()
