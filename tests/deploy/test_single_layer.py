"""One layer on ONNX Runtime, with fp32 or packed weights."""

import pytest
import torch

from course_lib import storage
from course_lib.deploy.single_layer import layer_runner
from tests.deploy.conftest import packed, relative_error


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("rows", [1, 5])
def test_a_packed_layer_multiplies_by_its_decoded_values(bits, rows):
    encoded, x = packed(bits, 64), torch.randn(rows, 512)
    exact = layer_runner(encoded, rows, threads=1, accuracy_level=0, x=x)
    assert relative_error(exact(), x @ storage.decode(encoded).T) < 1e-5
    assert exact.bytes >= encoded.bytes
    rounded = layer_runner(encoded, rows, threads=1, accuracy_level=4, x=x)
    assert relative_error(rounded(), x @ storage.decode(encoded).T) < 3e-2


def test_a_layer_in_fp32_is_the_matrix_product():
    weight = torch.randn(24, 40)
    runner = layer_runner(weight, 3, threads=1)
    assert runner().shape == (3, 24) and runner.bytes == 24 * 40 * 4
    x = torch.randn(3, 40)
    assert relative_error(layer_runner(weight, 3, threads=1, x=x)(), x @ weight.T) < 1e-5


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="rows must be greater than 0"):
        layer_runner(torch.randn(4, 4), 0)
    with pytest.raises(ValueError, match="accuracy_level must be one of 0, 4"):
        layer_runner(packed(), accuracy_level=3)
    with pytest.raises(ValueError, match="weight 'weight' has 3 bits"):
        layer_runner(packed(3))
