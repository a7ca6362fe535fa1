"""The shipped results of benchmarks/quantization_llm.py say what lesson 08 says."""

from __future__ import annotations

import pytest

from course_lib import assets

RESULTS = assets.results("quantization_llm")


def rows(part, **wanted):
    return [row for row in RESULTS[part]["rows"] if all(row[key] == value for key, value in wanted.items())]


@pytest.mark.parametrize(("embedding_bits", "most"), [(8, 18_000_000), (4, 13_000_000)])
def test_minilm_of_four_bits_is_a_small_file(embedding_bits, most):
    found = rows("minilm", bits=4, embedding_bits=embedding_bits)
    assert found and all(row["stored_bytes"] <= most for row in found)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_gptq_has_the_smaller_error_on_nearly_every_layer(bits):
    errors = rows("layer_errors", model="minilm")
    smaller = sum(row[f"gptq {bits}"] < row[f"rtn {bits}"] for row in errors)
    assert smaller >= 0.95 * len(errors)


@pytest.mark.parametrize("bits", [4, 3, 2])
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_no_method_leaves_the_tiny_llama_with_a_larger_perplexity_than_rounding(method, bits):
    (found,), (nearest,) = (rows("tiny", bits=bits, method=each) for each in (method, "rtn"))
    assert found["test"] <= nearest["test"]


def test_the_calibration_sentences_were_compared_on_validation_and_cost_was_measured():
    compared = rows("calibration", corrected=True)
    assert {row["method"] for row in compared} == {"gptq", "awq"} and len({row["sentences"] for row in compared}) > 2
    assert not any(key.startswith("test") for row in compared for key in row)
    limits = {"gptq": 30, "awq": 60}
    assert all(row["seconds"] <= limits[row["method"]] and row["resident_mb"] <= 2000 for row in rows("cost"))
