"""The panels of lessons 01 to 03: what they compute, and that every control moves the picture."""

from types import SimpleNamespace

import numpy
import pandas
import pytest
import torch
from torch import nn

from course_lib import pruning
from course_lib.calculator import Figure, Outcome
from course_lib.storage import encodings
from course_lib.widgets import calculator_panel, roofline_panel, sparsity, sparsity_panel
from course_lib.widgets.panel import STRICT
from course_lib.widgets.roofline import Layer, place
from course_lib.widgets.sparsity import PER_LAYER, WHOLE_MODEL, Curve, Measured, Pruned

MEASURED = Measured(
    model="Tiny",
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


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv(STRICT, "1")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(32, 24), nn.Linear(24, 5))


def nothing(technique: str, strength: float) -> None:
    """Nobody measured anything."""


def moves(panel, name, value) -> bool:
    before = panel.picture.value + panel.numbers.value
    panel.controls[name].value = value
    return panel.picture.value + panel.numbers.value != before


def test_every_control_of_the_sparsity_panel_moves_the_picture(network):
    panel = sparsity_panel(network, measured=MEASURED)
    for name, value in (("sparsity", 0.5), ("layer", "3"), ("threshold", PER_LAYER), ("values", "fp16")):
        assert moves(panel, name, value), name


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_the_panel_cuts_exactly_what_pruning_cuts_even_among_ties(fraction):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 40), nn.Linear(40, 3))
    for layer in model:
        layer.weight.data = (layer.weight.data * 20).round()
    panel = Pruned({str(index): layer.weight for index, layer in enumerate(model)})
    together, alone = pruning.global_masks(model, fraction), pruning.layerwise_masks(model, fraction)
    for name in together:
        assert panel.cut(fraction, name, WHOLE_MODEL).kept == int(together[name].sum())
        assert panel.cut(fraction, name, PER_LAYER).kept == int(alone[name].sum())


@pytest.mark.parametrize(("values", "dtype"), [("fp32", torch.float32), ("fp16", torch.float16)])
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 0.95])
def test_the_bytes_are_those_of_the_stored_layer(values, dtype, fraction):
    weight = torch.randn(37, 13, generator=torch.Generator().manual_seed(2))
    cut = (weight * pruning.magnitude_mask(weight, fraction)).to(dtype)
    smallest = min(encodings.encode_dense(cut).bytes, encodings.encode_bitmask(cut).bytes)
    assert Pruned({"w": weight}).cut(fraction, "w", values=values).stored == smallest


def test_the_threshold_separates_cut_from_kept():
    weight = torch.arange(1.0, 101.0)
    cut = Pruned({"w": weight}).cut(0.9, "w")
    assert cut.kept == 10 and cut.threshold == 91.0


def test_accuracy_is_measured_at_a_point_and_estimated_between(network):
    panel = sparsity_panel(network, measured=MEASURED)
    assert "92.0 %" in panel.numbers.value and panel.numbers.value.count("measured") == 2
    panel.controls["sparsity"].value = 0.7
    assert "92.5 %" in panel.numbers.value and "estimated" in panel.numbers.value


def test_one_weight_needs_no_choice_of_layer_and_invents_no_accuracy():
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


def test_a_subject_without_weights_is_refused():
    with pytest.raises(ValueError, match="subject must hold weights"):
        sparsity_panel(nn.ReLU())


def test_every_control_of_the_calculator_moves_the_picture():
    panel = calculator_panel(measure=nothing)
    settings = {
        "parameters": 25e6, "sparsity": 0.5, "dtype": "fp16", "hardware": "h100", "batch_size": 1024,
        "technique": "quantization", "bits": 4,
    }  # fmt: skip
    for name, value in settings.items():
        assert moves(panel, name, value), name
    for technique, strength in (("distillation", "student_size"), ("low_rank", "rank")):
        panel.controls["technique"].value = technique
        assert moves(panel, strength, 0.4), strength


def test_the_calculator_shows_the_strength_of_its_technique_only():
    panel = calculator_panel(measure=nothing)
    for technique, strength in {"pruning": "sparsity", "quantization": "bits", "low_rank": "rank"}.items():
        panel.controls["technique"].value = technique
        hidden = {name for name, control in panel.controls.items() if control.layout.display == "none"}
        assert hidden == {"sparsity", "bits", "student_size", "rank"} - {strength}


def test_the_calculator_shows_the_claim_beside_the_estimate_and_a_verdict():
    text = calculator_panel(measure=nothing).picture.value
    for words in ("90 % (70 GB)", "10x smaller", "7.62x smaller", "1x: no faster", "zeros still cost a multiplication"):
        assert words in text


def test_the_calculator_has_a_column_for_what_was_measured():
    figure = Figure(1.0, "x", "seen on ResNet18", "measured")
    panel = calculator_panel(measure=lambda technique, strength: Outcome(*[figure] * 7) if strength == 0.9 else None)
    assert (
        '<th scope="col">measured, ResNet18</th>' in panel.picture.value and "seen on ResNet18" in panel.picture.value
    )
    panel.controls["sparsity"].value = 0.8
    assert "seen on ResNet18" not in panel.picture.value


def test_what_ships_was_measured_and_both_panels_find_it():
    assert calculator_panel().result[1] is not None
    measured = sparsity.shipped()
    assert measured is not None and measured.accuracy > 0.93
    assert {curve.name for curve in measured.curves[WHOLE_MODEL]} == {"cut only", "fine-tuned"}


def test_the_calculator_clamps_what_cannot_be_and_says_so():
    panel = calculator_panel(measure=nothing)
    panel.controls["sparsity"].value = 1.5
    assert panel.result[0].strength == 0.999
    assert "Sparsity cannot be 150 %; it is set to 99.9 %." in panel.notice.value


def frame() -> pandas.DataFrame:
    rows = [
        ("conv", 4_000_000, 40_000.0, 90_000.0, 30.0),
        ("big", 2_000_000, 8_000_000.0, 9_000.0, 20.0),
        ("(between layers)", 0, 0.0, 0.0, 0.0),
        ("untimed", 5_000, 20_000.0, 2_000.0, numpy.nan),
    ]
    return pandas.DataFrame(rows, columns=["name", "macs", "weight_bytes", "activation_bytes", "achieved_gflops"])


ONE = SimpleNamespace(peak_gflops=60.0, bandwidth_gbs=10.0, threads=1)
TWO = SimpleNamespace(peak_gflops=110.0, bandwidth_gbs=16.0, threads=2)


def test_every_control_of_the_roofline_panel_moves_the_picture():
    panel = roofline_panel(frame(), [ONE, TWO], model="Tiny")
    assert moves(panel, "batch_size", 64) and moves(panel, "threads", 1)
    assert panel.result.peak_gflops == 60.0 and panel.result.measured_roof


def test_a_larger_batch_reads_the_weights_once_and_waits_less_for_memory():
    layer = Layer("big", 2e6, 8e6, 9e3, None)
    one, many = (place(layer, batch, 110.0, 16.0) for batch in (1, 64))
    assert one.intensity == pytest.approx(4e6 / 8.009e6) and one.waits
    assert many.intensity == pytest.approx(64 * 4e6 / (8e6 + 64 * 9e3)) and not many.waits
    assert one.milliseconds == pytest.approx(8.009e6 / 16e9 * 1000)
    assert many.milliseconds == pytest.approx(64 * 4e6 / 110e9 * 1000)
    assert many.milliseconds / 64 < one.milliseconds


def test_measured_speeds_are_drawn_only_where_they_were_measured():
    panel = roofline_panel(frame(), TWO, model="Tiny")
    assert [layer.name for layer in panel.result.achieved] == ["conv", "big"]
    panel.controls["batch_size"].value = 8
    assert not panel.result.achieved


def test_between_measured_threads_the_peak_is_scaled_and_marked():
    panel = roofline_panel(frame(), TWO)
    panel.controls["threads"].value = 1
    assert panel.result.peak_gflops == 55.0 and not panel.result.measured_roof
    assert "estimated" in panel.numbers.value and "measured" not in panel.numbers.value


def test_a_table_without_work_is_refused():
    with pytest.raises(ValueError, match="at least one layer with macs"):
        roofline_panel(frame().assign(macs=0), TWO)
