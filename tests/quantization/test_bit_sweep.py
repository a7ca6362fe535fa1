"""The sweep over bits and granularities."""

from __future__ import annotations

import pytest
from torch import nn

from course_lib import training
from course_lib.quantization import Scheme, bits_scan
from course_lib.quantization.bit_sweep import largest_group, scheme_for


def test_rows_begin_with_the_unquantized_model_and_finer_scales_have_a_higher_sqnr(small, split):
    rows = list(bits_scan(small, split, bits=(8, 3)))
    assert (rows[0]["granularity"], rows[0]["bits"], rows[0]["sqnr_db"]) == ("none", 32, {})
    assert rows[0]["accuracy"] == training.evaluate(small, split).accuracy
    found = {(row["granularity"], row["bits"]): row["sqnr_db"] for row in rows[1:]}
    assert len(found) == 6 and all(row["examples"] == len(split) for row in rows)
    for tensor, sqnr in found["per_channel", 3].items():
        assert found["per_tensor", 3][tensor] <= sqnr < found["per_channel", 8][tensor] - 20


@pytest.mark.parametrize(("inputs", "size"), [(128, 64), (27, 27), (96, 48), (67, 1)])
def test_groups_have_the_largest_size_that_divides_the_inputs(inputs, size):
    assert largest_group(inputs) == size
    assert scheme_for(nn.Linear(inputs, 2), 4, "group") == Scheme(4, "group", size)
    assert scheme_for(nn.Linear(inputs, 2), 4, "per_channel") == Scheme(4)
