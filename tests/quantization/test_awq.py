"""AWQ: the search over alpha starts at rounding to nearest, and finds less error."""

from __future__ import annotations

import pytest
import torch

from course_lib.quantization import WeightScheme, fake_quantize, search_scales
from tests.quantization.small_transformers import correlated_rows, statistics


def test_the_scale_search_starts_at_rounding_to_nearest_and_finds_better():
    rows, weight = correlated_rows(), torch.randn(24, 32)
    scheme, inputs = WeightScheme(3, 16), statistics(rows)
    found = search_scales(weight, inputs, scheme)
    nearest = inputs.output_error(fake_quantize(weight, scheme.params(weight)) - weight)
    assert found.errors[0] == pytest.approx(nearest)
    assert min(found.errors) < 0.9 * nearest and found.alpha == found.alphas[found.errors.index(min(found.errors))]
    assert torch.equal(found.scales, found.scales.half().float())
