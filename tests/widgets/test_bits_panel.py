"""The bits panel of lesson 05 against the functions of ``quantization``."""

import pytest
from torch import nn

from course_lib import quantization as q
from course_lib.quantization.bit_sweep import largest_group
from course_lib.widgets import bits_panel
from course_lib.widgets.bits import NAMES
from tests.widgets.networks import small_network


@pytest.fixture(scope="module")
def network():
    return small_network()


def test_every_control_of_the_bits_panel_moves_the_picture(network, moves):
    panel = bits_panel(network)
    for name, value in (("bits", 3), ("scales", "one per tensor"), ("layer", "3")):
        assert moves(panel, name, value), name


@pytest.mark.parametrize("scales", NAMES)
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_the_bits_panel_says_what_quantization_does(network, scales, bits):
    weight = network[3].weight.detach()
    panel = bits_panel(weight)
    panel.controls["scales"].value, panel.controls["bits"].value = scales, bits
    granularity = NAMES[scales]
    group = largest_group(288) if granularity == "group" else None
    quantized = q.quantize_tensor(weight, q.weight_params(weight, bits, granularity, group_size=group))
    assert panel.result.sqnr == pytest.approx(q.sqnr_db(weight, quantized.values()))
    assert panel.result.stored == q.quantized_bytes({"w": quantized})
    assert sum(panel.result.counts) == weight.numel()


def test_a_group_divides_the_inputs():
    assert [largest_group(inputs) for inputs in (64, 128, 147, 30, 67)] == [64, 64, 49, 30, 1]
    with pytest.raises(ValueError, match="subject must hold weights"):
        bits_panel(nn.Sequential(nn.ReLU()))
