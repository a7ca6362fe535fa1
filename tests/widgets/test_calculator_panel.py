"""The calculator panel of lesson 01: claims, estimates, measurements and verdicts."""

from course_lib.calculator import Figure, Outcome
from course_lib.widgets import calculator_panel


def no_measurement(technique: str, strength: float) -> None:
    """Stands for a technique without measurements."""


def test_every_control_of_the_calculator_moves_the_picture(moves):
    panel = calculator_panel(measure=no_measurement)
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
    panel = calculator_panel(measure=no_measurement)
    for technique, strength in {"pruning": "sparsity", "quantization": "bits", "low_rank": "rank"}.items():
        panel.controls["technique"].value = technique
        hidden = {name for name, control in panel.controls.items() if control.layout.display == "none"}
        assert hidden == {"sparsity", "bits", "student_size", "rank"} - {strength}


def test_the_calculator_shows_the_claim_beside_the_estimate_and_a_verdict():
    text = calculator_panel(measure=no_measurement).picture.value
    for words in (
        "10x smaller (70 GB)",
        "7.62x smaller (91.9 GB)",
        "1x: no faster",
        "zeros still cost a multiplication",
    ):
        assert words in text


def test_the_calculator_shows_what_was_measured():
    figure = Figure(1.0, "x", "seen on ResNet18", "measured")
    panel = calculator_panel(measure=lambda technique, strength: Outcome(*[figure] * 7) if strength == 0.9 else None)
    assert panel.picture.value.count("measured, ResNet18") >= 4 and "seen on ResNet18" in panel.picture.value
    panel.controls["sparsity"].value = 0.8
    assert "seen on ResNet18" not in panel.picture.value


def test_the_calculator_clamps_what_cannot_be_and_says_so():
    panel = calculator_panel(measure=no_measurement)
    panel.controls["sparsity"].value = 1.5
    assert panel.result[0].strength == 0.999
    assert "Sparsity cannot be 150 %; it is set to 99.9 %." in panel.notice.value


def test_what_ships_was_measured_and_the_panel_finds_it():
    assert calculator_panel().result[1] is not None
