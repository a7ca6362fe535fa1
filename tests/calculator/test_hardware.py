"""Presets name their source, and this machine is measured."""

import pytest

from course_lib.calculator import HARDWARE, estimate


def test_hardware_names_its_source():
    for preset in HARDWARE.values():
        assert preset.source and preset.peaks["fp32"] > 0 and preset.bandwidth > 0 and preset.memory > 0


def test_this_machine_is_measured(monkeypatch):
    from types import SimpleNamespace

    from course_lib import profiling

    roof = SimpleNamespace(peak_gflops=100.0, bandwidth_gbs=20.0, threads=2)
    machine = SimpleNamespace(memory_gb=16.0, vnni=True, amx=False)
    monkeypatch.setattr(profiling, "roofline", lambda: roof)
    monkeypatch.setattr(profiling, "machine", lambda: machine)
    result = estimate("quantization", 1e9, 8, "this_machine", batch_size=1024)
    assert result.hardware.peak("fp32") == 0.1 and result.hardware.peak("int8") == 0.4
    assert result.honest.speedup.value == pytest.approx(4.0)
    assert result.hardware.source == "measured by profiling.roofline"
