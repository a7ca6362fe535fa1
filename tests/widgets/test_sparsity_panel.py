"""The sparsity panel of lesson 03 against the masks of ``pruning`` and the bytes of ``storage``."""

import pytest
import torch
from torch import nn

from course_lib import models, pruning, storage
from course_lib.widgets import sparsity, sparsity_panel
from course_lib.widgets.measured import Curve
from course_lib.widgets.sparsity import PER_LAYER, WHOLE_MODEL, LayerPruner, PrunedModel

MEASURED = PrunedModel(
    name="Tiny",
    accuracy=0.93,
    curves={
        WHOLE_MODEL: (
            Curve("cut only", (0.0, 0.5, 0.9), (0.93, 0.9, 0.4)),
            Curve("fine-tuned", (0.0, 0.5, 0.9), (0.93, 0.93, 0.92)),
        ),
        PER_LAYER: (Curve("cut only", (0.0, 0.9), (0.93, 0.2)),),
    },
    speedup=1.0,
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(32, 24), nn.Linear(24, 5))


def test_every_control_of_the_sparsity_panel_moves_the_picture(network, moves):
    panel = sparsity_panel(network, measured=MEASURED)
    for name, value in (("sparsity", 0.5), ("layer", "3"), ("threshold", PER_LAYER), ("values", "fp16")):
        assert moves(panel, name, value), name


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_the_panel_cuts_exactly_what_pruning_cuts_even_among_ties(fraction):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 40), nn.Linear(40, 3))
    for layer in model:
        layer.weight.data = (layer.weight.data * 20).round()
    panel = LayerPruner({str(index): layer.weight for index, layer in enumerate(model)})
    together, alone = pruning.global_masks(model, fraction), pruning.layerwise_masks(model, fraction)
    for name in together:
        assert panel.cut(fraction, name, WHOLE_MODEL).kept == int(together[name].sum())
        assert panel.cut(fraction, name, PER_LAYER).kept == int(alone[name].sum())


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 0.95])
def test_the_bytes_are_those_of_the_layer_in_a_file(tmp_path, dtype, fraction):
    model = models.build({"builder": "mlp", "arguments": {"sizes": [13, 37]}})
    weight = pruning.layer_weights(model)["1"]
    shown = LayerPruner({"1": weight}).cut(fraction, "1", dtype=dtype)
    file = storage.save(pruning.prune_layerwise(model, fraction), tmp_path / "m.safetensors", dtype=dtype)
    stored = {record.name: record.bytes for record in storage.inspect(file)}
    assert shown.stored == stored["1.weight"]
    assert shown.dense == weight.numel() * {"fp32": 4, "fp16": 2}[dtype]


def test_the_threshold_separates_cut_from_kept():
    weight = torch.arange(1.0, 101.0)
    cut = LayerPruner({"w": weight}).cut(0.9, "w")
    assert cut.kept == 10 and cut.threshold == 91.0


def test_accuracy_is_measured_at_a_point_and_estimated_between(network):
    panel = sparsity_panel(network, measured=MEASURED)
    assert "92.0 %" in panel.numbers.value and panel.numbers.value.count("measured") == 2
    panel.controls["sparsity"].value = 0.7
    assert "92.5 %" in panel.numbers.value and "estimated" in panel.numbers.value


def test_one_weight_needs_no_choice_of_layer_and_invents_no_accuracy(moves):
    panel = sparsity_panel(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))
    assert set(panel.controls) == {"sparsity", "values"}
    assert "accuracy" not in panel.numbers.value and panel.picture.value.count("<svg") == 1
    assert moves(panel, "sparsity", 0.2)


def test_a_constant_weight_and_a_single_weight_can_be_shown():
    for weight in (torch.zeros(4, 4), torch.ones(1)):
        panel = sparsity_panel(weight)
        panel.controls["sparsity"].value = 0.0
        assert panel.result.kept == weight.numel()


def test_shipped_curves_are_read_as_they_were_measured(monkeypatch):
    curves = {"name": "cut only", "sparsity": [0.0, 0.9], "accuracy": [0.93, 0.4]}
    tables = {
        "curves": {"model": "ResNet18", "accuracy": 0.93, "curves": {WHOLE_MODEL: [curves]}},
        "compare": {"rows": [{"speedup": 1.0}, {"speedup": 1.1}]},
    }
    monkeypatch.setattr(sparsity, "results", lambda technique: tables)
    measured = sparsity.shipped()
    assert measured is not None and measured.speedup == 1.1
    assert measured.curves[WHOLE_MODEL][0].at(0.9) == (0.4, "measured")
    monkeypatch.setattr(sparsity, "results", lambda technique: {})
    assert sparsity.shipped() is None


def test_what_ships_was_measured_and_the_panel_finds_it():
    measured = sparsity.shipped()
    assert measured is not None and measured.accuracy > 0.93
    assert {curve.name for curve in measured.curves[WHOLE_MODEL]} == {"cut only", "fine-tuned"}


def test_a_subject_without_weights_is_refused():
    with pytest.raises(ValueError, match="subject must hold weights"):
        sparsity_panel(nn.ReLU())
