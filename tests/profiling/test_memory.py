"""Peak memory of a stored model, in a process of its own."""

import pytest
import torch

from course_lib import models, profiling, storage


def test_peak_memory_is_that_of_the_model_in_a_process_of_its_own(tmp_path):
    ballast = torch.ones(2**25)  # 134 MB that must not be counted
    wide = {"builder": "mlp", "arguments": {"sizes": [4000, 4000]}}
    peak = profiling.peak_memory(storage.save(models.build(wide), tmp_path / "m.safetensors"), torch.randn(1, 4000))
    assert ballast.sum() > 0
    assert 64 <= peak.model_mb <= 64 + 40
    assert "above the libraries" in str(peak)


def test_a_model_that_cannot_be_loaded_is_reported_with_its_reason(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match=r"memory of m.safetensors failed: .*cannot be loaded"):
        profiling.peak_memory(path, torch.randn(1, 4))
