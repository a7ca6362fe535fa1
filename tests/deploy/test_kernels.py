"""The 4-bit kernels in numba: naive, blocked and parallel agree with the decoded layer."""

import numpy
import pytest
import torch

from course_lib import storage
from course_lib.deploy import kernels
from tests.deploy.conftest import packed, relative_error

TOLERANCE = 1e-5  # of the largest output; the task asks for 1e-3


def row(width):
    return torch.randn(width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("shape", "group"), [((300, 512), 64), ((128, 64), 16), ((1, 16), 8), ((130, 96), 96)])
def test_all_versions_agree_with_the_decoded_layer(shape, group, symmetric):
    encoded = packed(4, group, symmetric, shape)
    weight, x = kernels.four_bit_weight(encoded), row(shape[1])
    expected = storage.decode(encoded) @ x
    blocks = kernels.block_layout(weight)
    for found in (
        kernels.multiply(weight, x),
        kernels.multiply(blocks, x),
        kernels.multiply(blocks, x, threads=2 if kernels.numba.config.NUMBA_NUM_THREADS > 1 else 1),
    ):
        assert found.shape == expected.shape and found.dtype == torch.float32
        assert relative_error(found, expected) < TOLERANCE


def test_the_codes_are_the_bytes_of_the_file():
    encoded = packed(4, 64, False, (256, 128))
    weight = kernels.four_bit_weight(encoded)
    assert weight.codes.tobytes() == encoded.parts["codes"].numpy().tobytes()
    blocks = kernels.block_layout(weight)
    assert blocks.codes.shape == (2, 64, kernels.ROWS) and blocks.bytes == weight.bytes
    assert numpy.array_equal(blocks.codes[1, 5], weight.codes[128:, 5])


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (packed(8, 64), "must be a packed matrix .* of 4 bits; got 'packed' with shape .* and 8 bits"),
        (packed(4, 4), "groups must be a multiple of 8"),
        (packed(4, None, True, (4, 100), "per_channel"), "groups must be a multiple of 8 that divides the 100 inputs"),
        (storage.encode_columns(packed(4, 16), divisor=torch.full((512,), 2.0)), "got 'packed_columns'"),
    ],
)
def test_other_weights_are_refused(encoded, message):
    with pytest.raises(ValueError, match=message):
        kernels.four_bit_weight(encoded)


def test_a_row_of_another_length_is_refused():
    weight = kernels.four_bit_weight(packed(4, 64))
    with pytest.raises(ValueError, match=r"x must have shape \(512,\), got \(64,\)"):
        kernels.multiply(weight, row(64))
    with pytest.raises(ValueError, match="threads must be greater than 0"):
        kernels.multiply(weight, row(512), threads=0)
