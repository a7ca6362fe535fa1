"""Shipped measurements beside the claims."""

from dataclasses import fields

import pytest

from course_lib.calculator import estimate, measured, measurements, verdicts

RESULTS = {
    "fine_tuned": {"rows": [{"sparsity": 0.9, "retained": 0.995, "stored_bytes_fp32": 5_900_000}]},
    "compare": {
        "rows": [
            {"name": "baseline", "sparsity": 0.0, "stored_bytes": 44_700_000, "parameters": 11_181_642, "speedup": 1.0},
            {"name": "90 %", "sparsity": 0.899, "stored_bytes": 5_900_000, "parameters": 11_181_642, "speedup": 1.02},
        ]
    },
}


@pytest.fixture
def shipped_results(monkeypatch):
    monkeypatch.setattr(measurements, "results", lambda technique: RESULTS if technique == "pruning" else {})


def test_shipped_measurements_stand_beside_the_claims(shipped_results):
    seen = measured("pruning", 0.9)
    assert [str(getattr(seen, name)) for name in ("size", "ratio", "quality", "speedup", "memory")] == [
        "1.12M params", "7.58x smaller", "99.5 %", "1.02x faster", "87 % (5.90 MB)",
    ]  # fmt: skip
    assert {getattr(seen, field.name).source for field in fields(seen)} == {"measured"}
    said = verdicts(estimate("pruning", strength=0.9), seen)
    assert (
        str(said["speedup"]) == "does not hold: 1.02x faster, measured; zeros still cost a multiplication"
        and said["quality"].kind == "holds"
    )


def test_nothing_is_called_measured_without_a_measurement(shipped_results):
    assert measured("pruning", 0.85) is None
    assert measured("quantization", 8) is None
