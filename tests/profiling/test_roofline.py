"""The two limits of a machine, and the file that keeps them."""

import importlib
import json

import pytest

from course_lib import profiling

ROOFLINE = importlib.import_module("course_lib.profiling.roofline")  # the package attribute is the function


def test_the_roofline_says_what_a_layer_waits_for():
    roofs = profiling.Roofline(peak_gflops=100, bandwidth_gbs=20, threads=2)
    assert roofs.ridge == 5
    assert [roofs.bound(4.9), roofs.bound(5.1)] == ["memory", "compute"]
    assert [roofs.attainable_gflops(1), roofs.attainable_gflops(50)] == [20, 100]


def test_the_roofline_is_measured_once_for_each_number_of_threads(fast_roofline, monkeypatch, tmp_path):
    first = profiling.roofline(1)
    assert first.peak_gflops > 0
    assert first.bandwidth_gbs > 0
    monkeypatch.setattr(ROOFLINE, "_measure", lambda threads: profiling.Roofline(1.5, 2.5, threads))
    assert profiling.roofline(1) == first
    assert profiling.roofline(2) == profiling.Roofline(1.5, 2.5, 2)
    monkeypatch.setattr(ROOFLINE, "_measure", lambda threads: profiling.Roofline(1.0, 3.5, threads))
    assert profiling.roofline(2, refresh=True) == profiling.Roofline(1.5, 3.5, 2), "the better of old and new"
    assert profiling.roofline(2) == profiling.Roofline(1.5, 3.5, 2)
    with pytest.raises(ValueError, match="threads must be greater than 0, got 0"):
        profiling.roofline(0)


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"x": 3}', '{"x": {"peak_gflops": "fast"}}'])
def test_a_damaged_roofline_cache_is_measured_again(fast_roofline, tmp_path, damage):
    file = tmp_path / "cache" / "roofline.json"
    file.parent.mkdir()
    file.write_text(damage)
    assert profiling.roofline(1).threads == 1
    assert len(json.loads(file.read_text())) == 1
