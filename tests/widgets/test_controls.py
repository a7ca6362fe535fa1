import math

import pytest

from course_lib.widgets import choice, log_slider, slider, toggle


def test_slider_and_numeric_field_show_the_same_number():
    control = slider(0.9, 0.0, 0.999, 0.001, label="Sparsity", unit="%")
    assert control._track.value == pytest.approx(90) and control._field.value == pytest.approx(90)
    control._track.value = 55.5
    assert control.value == pytest.approx(0.555) and control._field.value == pytest.approx(55.5)
    control._field.value = 12.3
    assert control.value == pytest.approx(0.123) and control._track.value == pytest.approx(12.3)
    assert control.reading == "12.3 %"


def test_a_number_typed_out_of_range_is_clamped_and_the_learner_is_told():
    control = slider(0.9, 0.0, 0.999, 0.001, label="Sparsity", unit="%")
    control._field.value = 140
    assert control.value == 0.999 and control._field.value == pytest.approx(99.9)
    assert control.notice == "Sparsity cannot be 140 %; it is set to 99.9 %."
    control.value = 0.5
    assert control.notice == ""


def test_a_slider_of_whole_numbers_gives_whole_numbers():
    control = slider(8, 2, 8, label="Bits")
    control._track.value = 3.0
    assert control.value == 3 and isinstance(control.value, int)
    control._field.value = 4.4
    assert control.value == 4 and control._field.value == 4


def test_a_log_slider_moves_in_powers_of_ten_and_reaches_both_ends():
    control = log_slider(175e9, 1e6, 175e9, label="Parameters", unit="B", factor=1e-9)
    assert control._track.max == pytest.approx(math.log10(175e9)) and control.reading == "175 B"
    control._track.value = 7.5
    assert control.value == 31_600_000
    control._track.value = control._track.min
    assert control.value == 1e6
    control._field.value = 0.066
    assert control.value == pytest.approx(66e6) and control._track.value == pytest.approx(math.log10(66e6))


def test_a_log_slider_between_whole_numbers_doubles_with_each_step():
    control = log_slider(1, 1, 1024, label="Batch size", step=math.log10(2))
    seen = []
    for power in range(11):
        control._track.value = power * math.log10(2)
        seen.append(control.value)
    assert seen == [2**power for power in range(11)]
    assert all(isinstance(value, int) for value in seen)


@pytest.mark.parametrize("wrong", [float("nan"), "many", None, True])
def test_a_slider_refuses_what_is_no_number(wrong):
    control = slider(0.5, 0.0, 1.0, label="Sparsity")
    with pytest.raises(ValueError, match="Sparsity must be a number"):
        control.value = wrong
    assert control.value == 0.5


def test_impossible_ranges_are_refused():
    with pytest.raises(ValueError, match="low must be below high, got low=3 and high=3"):
        slider(3, 3, 3)
    with pytest.raises(ValueError, match="low must be greater than 0 on a logarithmic slider, got 0"):
        log_slider(1, 0, 10)
    with pytest.raises(ValueError, match="options must hold at least one entry"):
        choice()


def test_a_choice_takes_its_options_only():
    control = choice(("laptop", "cpu"), ("graphics card", "gpu"), label="Hardware")
    assert control.value == "cpu" and control.reading == "laptop"
    control._list.value = "gpu"
    assert control.value == "gpu" and control.reading == "graphics card"
    with pytest.raises(ValueError, match="Hardware must be one of 'cpu', 'gpu'; got 'tpu'"):
        control.value = "tpu"


def test_a_toggle_reads_yes_or_no():
    control = toggle(True, label="Fine-tuned")
    assert control.reading == "yes"
    control._box.value = False
    assert control.value is False and control.reading == "no"


def test_every_input_carries_the_name_of_its_control():
    fraction, option, tick = slider(0.5, 0.0, 1.0), choice("a", "b"), toggle()
    for control in (fraction, option, tick):
        control.label = "Sparsity"
    assert fraction._track.description == "Sparsity" and "Sparsity" in fraction._field.description
    assert option._list.description == "Sparsity" and tick._box.description == "Sparsity"
