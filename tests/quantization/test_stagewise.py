"""What the loop around GPTQ and AWQ does: bias correction, refusals before anything is changed."""

from __future__ import annotations

import pytest
import torch

from course_lib import quantization
from tests.quantization.small_transformers import small, tokens


@pytest.mark.parametrize("method", [quantization.gptq, quantization.awq])
def test_biases_compensate_for_the_mean_error_where_there_are_any(method):
    model, split = small("bert"), tokens()
    plain, corrected = (method(model, split, 2, group_size=16, correct=correct) for correct in (False, True))
    first = "bert.encoder.layer.0.attention.self.query"
    assert corrected.report.loc[first, "output_error"] < plain.report.loc[first, "output_error"]
    kept, moved = (result.model.get_submodule(first).bias for result in (plain, corrected))
    assert torch.equal(kept, model.get_submodule(first).bias)
    assert not torch.equal(moved, kept) and torch.equal(moved, moved.half().float())


def test_a_llama_has_no_biases_to_correct():
    model, split = small("llama"), tokens()
    plain, corrected = (quantization.gptq(model, split, 3, group_size=16, correct=each) for each in (False, True))
    for before, after in zip(plain.model.parameters(), corrected.model.parameters(), strict=True):
        assert torch.equal(before, after)
