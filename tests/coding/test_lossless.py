"""Fields of floating-point numbers, their entropy, and general compressors."""

from __future__ import annotations

import struct

import pytest
import torch

from course_lib import coding


@pytest.mark.parametrize(
    ("number_format", "value", "wanted"),
    [
        ("fp32", 1.0, (0, 127, 0)),
        ("fp32", -1.5, (1, 127, 2**22)),
        ("fp32", 0.0, (0, 0, 0)),
        ("fp16", 1.0, (0, 15, 0)),
        ("fp16", -0.25, (1, 13, 0)),
        ("bf16", 3.0, (0, 128, 64)),
    ],
)
def test_fields_by_hand(number_format, value, wanted):
    assert tuple(int(part) for part in coding.fields(torch.tensor([value]), number_format)) == wanted


def test_fields_of_fp32_against_the_bytes_of_the_number():
    for value in (0.1, -3.75e-12, 8.5e20):
        word = struct.unpack("<I", struct.pack("<f", value))[0]
        found = tuple(int(part) for part in coding.fields(torch.tensor([value])))
        assert found == (word >> 31, word >> 23 & 255, word & (2**23 - 1))


@pytest.mark.parametrize("number_format", coding.FORMATS)
def test_fields_can_be_joined_again_bit_for_bit(number_format):
    values = torch.randn(500).to(coding.FORMATS[number_format].dtype)
    values = torch.cat([values, values.new_tensor([0.0, -0.0, float("inf"), float("-inf"), 1e-7])])
    joined = coding.join_fields(*coding.fields(values, number_format), number_format)
    integers = coding.FORMATS[number_format].integers
    assert torch.equal(joined.view(integers), values.view(integers))


def test_entropies_by_hand():
    found = coding.field_entropy(torch.tensor([1.0, -1.0, 2.0, -2.0]))
    assert (found.sign, found.exponent, found.mantissa, found.total) == (1, 1, 0, 2)
    found = coding.field_entropy(torch.tensor([1.0, 1.5]), "fp16")
    assert (found.sign, found.exponent, found.mantissa) == (0, 0, 1)


def test_signs_and_mantissas_of_weights_are_random_and_exponents_are_not():
    found = coding.field_entropy(torch.randn(100_000) * 0.02)
    assert found.sign > 0.999 and found.mantissa > 22.9
    assert 2 < found.exponent < 3


def test_the_limit_of_exponent_coding_counts_the_rest_as_it_is():
    values = torch.tensor([1.0, -1.0, 2.0, -2.0])
    assert coding.exponent_coded_bits(values, "bf16") == 4 * (1 + 1 + 7)
    assert coding.exponent_coded_bits(values, "fp32") == 4 * (1 + 1 + 23)


def test_pruned_weights_are_what_compressors_understand():
    weight = torch.randn(20_000)
    pruned = weight * (weight.abs() > 2)
    dense, sparse = (coding.compressed_sizes(one.numpy().tobytes()) for one in (weight, pruned))
    assert {"gzip", "xz"} <= set(dense)
    for name in dense:
        assert 0.85 * 80_000 < dense[name] < 80_000 and sparse[name] < 0.25 * dense[name]


def test_layers_have_their_own_entropies(folded):
    found = coding.layer_entropies(folded)
    assert list(found) == list(coding.weights_of(folded))
    assert all(one.exponent < 8 and one.total <= 32 for one in found.values())


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="at least one number"):
        coding.field_entropy(torch.zeros(0))
    with pytest.raises(ValueError, match="'fp8'"):
        coding.fields(torch.zeros(1), "fp8")
