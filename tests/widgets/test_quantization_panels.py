"""The panels of lessons 05 and 06: what they compute against the definitions, and that every control moves."""

import pytest
import torch
from torch import nn

from course_lib import quantization as q
from course_lib.data import Split, TestSplitError
from course_lib.widgets import bits_panel, clipping_panel
from course_lib.widgets.bits import NAMES, group_of
from course_lib.widgets.clipping import BY_HAND, Activations
from course_lib.widgets.panel import STRICT


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv(STRICT, "1")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 12), nn.ReLU(), nn.Linear(12, 5))


def pictures(name="validation"):
    return Split("made up", name, torch.randn(20, 3, 8, 8), torch.zeros(20).long(), ("a",))


def moves(panel, name, value):
    before = panel.picture.value + panel.numbers.value
    panel.controls[name].value = value
    return panel.picture.value + panel.numbers.value != before


def test_every_control_of_the_bits_panel_moves_the_picture(network):
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
    group = group_of(288, granularity)
    quantized = q.quantize_tensor(weight, q.weight_params(weight, bits, granularity, group_size=group))
    assert panel.result.sqnr == pytest.approx(q.sqnr_db(weight, quantized.values()))
    assert panel.result.stored == q.quantized_bytes({"w": quantized})
    assert sum(panel.result.counts) == weight.numel()


def test_a_group_divides_the_inputs():
    assert [group_of(inputs, "group") for inputs in (64, 128, 147, 30, 67)] == [64, 64, 49, 30, 1]
    with pytest.raises(ValueError, match="subject must hold weights"):
        bits_panel(nn.Sequential(nn.ReLU()))


def test_every_control_of_the_clipping_panel_moves_the_picture(network):
    panel = clipping_panel(network, pictures())
    for name, value in (("chosen", "mse"), ("chosen", BY_HAND), ("clip_at", 0.4), ("bits", 2), ("layer", "0")):
        assert moves(panel, name, value), (name, value)
    assert "clip_at" in panel._visible()
    panel.controls["chosen"].value = "entropy"
    assert "clip_at" not in panel._visible()


def test_clipping_and_rounding_add_up_to_the_error(network):
    x = torch.randn(50_000, generator=torch.Generator().manual_seed(1))
    clipped = Activations({"x": x}).clip("x", 4, BY_HAND, 0.5)
    params = q.choose_params(torch.tensor(clipped.low), torch.tensor(clipped.high), 4, symmetric=False)
    expected = (q.fake_quantize(x, params) - x).square().sum() / x.square().sum()
    assert clipped.clipping + clipped.rounding == pytest.approx(expected.item(), rel=0.02)
    outside = ((x < clipped.low) | (x > clipped.high)).float().mean().item()
    assert clipped.outside == pytest.approx(outside, abs=0.002)


def test_min_max_clips_nothing_and_no_line_beats_mse(network):
    activations = Activations({"x": torch.relu(torch.randn(20_000, generator=torch.Generator().manual_seed(2)))})
    assert activations.clip("x", 4, "min-max", 0.1).outside < 0.001
    best = activations.clip("x", 3, "mse", 1.0).sqnr
    assert all(activations.clip("x", 3, BY_HAND, share / 20).sqnr <= best + 0.05 for share in range(1, 21))


def test_the_test_split_is_refused(network):
    with pytest.raises(TestSplitError):
        clipping_panel(network, pictures("test"))


def test_the_clipping_panel_shows_what_was_measured_for_the_chosen_observer(network):
    measured = [
        {"method": method, "activation_bits": bits, "accuracy": bits / 10 + share / 100}
        for share, method in enumerate(("min-max", "mse"))
        for bits in (8, 4, 2)
    ]
    panel = clipping_panel(network, pictures(), measured=measured)
    assert "Accuracy of the model" in panel.picture.value and "measured" not in panel.numbers.value
    panel.controls["chosen"].value = "mse"
    assert "41.0 %" in panel.numbers.value and "measured" in panel.numbers.value
    panel.controls["bits"].value = 3
    assert "measured" not in panel.numbers.value, "nothing is said where nothing was measured"
    assert "Accuracy of the model" not in clipping_panel(network, pictures()).picture.value
