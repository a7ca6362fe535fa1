"""The clipping panel of lesson 06 against the functions of ``quantization``."""

import pytest
import torch

from course_lib import quantization as q
from course_lib.data import TestSplitError
from course_lib.widgets import clipping_panel
from course_lib.widgets.clipping import BY_HAND, Activations
from tests.widgets.networks import pictures, small_network


@pytest.fixture(scope="module")
def network():
    return small_network()


def test_every_control_of_the_clipping_panel_moves_the_picture(network, moves):
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
