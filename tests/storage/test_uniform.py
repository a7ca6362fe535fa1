"""Levels on a uniform grid: their values, and steps and levels that are refused."""

import pytest
import torch

from course_lib import storage


def test_values_are_levels_times_the_step_of_their_row():
    levels = torch.tensor([[1, -2], [300, 0]])
    encoded = storage.encode_uniform(levels, torch.tensor([0.5, 0.25]))
    assert storage.decode(encoded).tolist() == [[0.5, -1], [75, 0]]
    assert encoded.parts["levels"].dtype == torch.int16 and encoded.bytes == 4 * 2 + 2 * 4
    whole = storage.encode_uniform(levels.clamp(-9, 9), torch.tensor([0.5]).half())
    assert storage.decode(whole).tolist() == [[0.5, -1], [4.5, 0]]
    assert whole.bytes == 4 + 2


@pytest.mark.parametrize("shape", [(), (0,), (3,), (1, 4), (2, 3, 3, 3), (0, 4)])
def test_any_shape_comes_back(shape):
    levels = torch.randint(-5, 6, shape)
    rows = shape[0] if shape else 1
    for steps in (torch.rand(1) + 0.1, torch.rand(rows) + 0.1):
        decoded = storage.decode(storage.encode_uniform(levels, steps))
        assert decoded.shape == shape and decoded.dtype == torch.float32
        if not levels.numel():
            continue
        for row, values, step in zip(levels.view(rows, -1), decoded.view(rows, -1), steps.expand(rows), strict=True):
            assert torch.equal(values, row.float() * step)


def test_levels_must_be_integers_of_32_bits():
    with pytest.raises(ValueError, match=r"levels must be integers, got torch.float32"):
        storage.encode_uniform(torch.tensor([float("nan")]), torch.ones(1))
    with pytest.raises(ValueError, match=r"levels must be integers, got torch.bool"):
        storage.encode_uniform(torch.tensor([True]), torch.ones(1))
    with pytest.raises(ValueError, match="got one of ±2147483648"):
        storage.encode_uniform(torch.tensor([-(2**31)]), torch.ones(1))


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_that_is_no_positive_number_is_refused_when_encoding_and_decoding(step):
    with pytest.raises(ValueError, match="steps must be positive, finite numbers"):
        storage.encode_uniform(torch.ones(2, 2, dtype=torch.int), torch.tensor([1.0, step]))
    good = storage.encode_uniform(torch.ones(2, 2, dtype=torch.int), torch.ones(2))
    parts = {**good.parts, "steps": torch.tensor([1.0, step])}
    with pytest.raises(storage.FormatError, match="steps must be positive, finite numbers"):
        storage.decode(storage.Encoded("uniform", "fp32", (2, 2), parts))


def test_steps_of_another_number_or_dtype_are_refused():
    levels = torch.ones(3, 2, dtype=torch.int)
    with pytest.raises(ValueError, match="steps must be 1 or 3 values of fp32 or fp16, got 2"):
        storage.encode_uniform(levels, torch.ones(2))
    with pytest.raises(ValueError, match=r"got 3 of torch.float64"):
        storage.encode_uniform(levels, torch.ones(3).double())
    good = storage.encode_uniform(levels, torch.ones(3))
    for parts, message in [
        ({**good.parts, "steps": torch.ones(2)}, "it has 2 steps; allowed are 1 or 3"),
        ({**good.parts, "steps": torch.ones(3).double()}, "'steps' should be n × fp32"),
        ({"levels": good.parts["levels"]}, "'steps' should be|part 'steps' is missing"),
        ({**good.parts, "levels": torch.ones(3, 2)}, "'levels' should be"),
        ({"steps": torch.ones(64)}, "part 'levels' is missing"),
    ]:
        with pytest.raises(storage.FormatError, match=message):
            storage.decode(storage.Encoded("uniform", "fp32", (3, 2), parts))


def test_coarse_steps_have_few_mantissa_bits_and_are_near():
    steps = torch.logspace(-6, 3, 200)
    coarse = storage.coarse_steps(steps)
    assert coarse.dtype == torch.float16
    assert ((coarse.float() / steps - 1).abs() <= 0.126).all()
    assert (coarse.view(torch.int16)[coarse > 7e-5] & 0xFF == 0).all()
    assert storage.coarse_steps(torch.tensor([0.3]), 0).tolist() == [0.25]
    with pytest.raises(ValueError, match="range of fp16"):
        storage.coarse_steps(torch.tensor([1e-9]))
