"""``locate``: planted faults are found, inherited errors are told from own ones, and few bytes repair them."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from advisor_faults import FAULTS, darker, planted
from torch import nn

from course_lib import advisor, quantization, training
from course_lib.data import Split, TestSplitError
from tests.pipeline.toy_pipelines import toy_model, toy_splits
from tests.toys import flat_weights, small_convolutional


def images(name="train", size=96):
    """Bright pictures of ten classes: which row is the brightest."""
    generator = torch.Generator().manual_seed(len(name))
    pixels = torch.randint(40, 160, (size, 10, 10), generator=generator, dtype=torch.uint8)
    labels = torch.arange(size) % 10
    pixels[torch.arange(size), labels] = 250
    return Split("rows", name, pixels, labels, tuple("abcdefghij"))


@cache
def trained():
    model = small_convolutional()
    training.fit(model, images(size=256), epochs=6, learning_rate=0.02, batch_size=32, progress=False)
    return model


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_ranked_first(name):
    fault = FAULTS[name]
    compressed, layer = planted(trained(), images(size=64), fault)
    wrong = darker(images()) if fault.plant is None else None
    found = advisor.locate(trained(), compressed, images(), compressed_data=wrong, examples=64)
    assert found.first == layer, str(found)


def test_an_inherited_error_is_not_a_layers_own():
    compressed = quantization.quantize_weights(trained(), quantization.Scheme(8), layers=["fc"])
    first = compressed.get_submodule("conv")
    first.weight.data.mul_(1.5)
    rows = advisor.locate(trained(), compressed, images()).frame.set_index("layer")
    assert rows.loc["conv", "own"] > 0.01 and rows.loc["conv", "inherited"] == 0
    assert rows.loc["block.conv1", "own"] == 0 and rows.loc["block.conv1", "inherited"] > 0.01
    assert rows.loc["block.conv1", "damage"] == 0


def test_the_proposal_regains_the_damage_of_a_fault_for_few_bytes():
    compressed, layer = planted(trained(), images(size=64), FAULTS["wrong scale, late"])
    found = advisor.locate(trained(), compressed, images(), more_bytes=0.05)
    assert layer in found.proposal.forms and found.proposal.regained >= 0.9
    assert found.proposal.more_bytes <= 0.05
    assert found.to_dict()["proposal"]["forms"] == found.proposal.forms
    assert "leave wide" in str(found) and layer in found._repr_html_()


def test_nothing_is_changed_and_equal_models_have_no_error():
    before = flat_weights(trained()).clone()
    found = advisor.locate(trained(), trained(), images())
    assert torch.equal(flat_weights(trained()), before)
    assert found.total_damage == 0 and all(one.damage == 0 for one in found.layers)
    assert found.proposal.forms == {}


def test_a_module_around_the_compressed_model_may_prepare_the_inputs_in_another_way():
    class Dimmed(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(0.5 * x)

    found = advisor.locate(toy_model(), Dimmed(quantization.quantize_weights(toy_model())), toy_splits().validation)
    assert found.first == advisor.locating.INPUT


def test_models_of_other_shapes_and_the_test_split_are_refused():
    with pytest.raises(ValueError, match="compressed has no layer with the name and shape"):
        advisor.locate(trained(), nn.Linear(3, 2), images())
    with pytest.raises(TestSplitError):
        advisor.locate(toy_model(), toy_model(), toy_splits().test)


@pytest.mark.parametrize("name", ["outlier channel, late", "wrong scale, late"])
def test_a_layer_that_was_rounded_badly_is_repaired_without_further_bytes(name):
    compressed, layer = planted(trained(), images(size=64), FAULTS[name])
    found = advisor.locate(trained(), compressed, images(), more_bytes=0.0)
    assert found.proposal.forms[layer] == "6 bits, rounded again"
    assert found.proposal.regained > 0.5 and found.proposal.more_bytes == 0
