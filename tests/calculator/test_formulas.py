"""Bytes of a format and seconds of a pass against arithmetic by hand and against stored tensors."""

import pytest
import torch

from course_lib.calculator import HARDWARE, estimate
from course_lib.calculator.formulas import bitmask_bytes, csr_bytes, low_rank_bytes, quantized_bytes, seconds
from course_lib.storage.encodings import encode_bitmask


def test_scales_and_zero_points_are_counted():
    assert quantized_bytes(1280, 4) == 640 + 10 * (16 + 4) / 8
    assert quantized_bytes(1, 8) == 1 + 3
    assert estimate("quantization", 175e9, 8).honest.ratio.value == pytest.approx(32 / (8 + 24 / 128))


def test_the_formats_by_hand():
    assert bitmask_bytes(1000, 0.9, 4) == pytest.approx(125 + 400)
    assert csr_bytes(1000, 0.9, 2) == pytest.approx(100 * 6)
    assert low_rank_bytes(64 * 64, 8 / 64, 4) == 2 * 64 * 8 * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("kept", [0, 7, 1000])
def test_the_bytes_of_a_bitmask_are_those_of_the_stored_tensor(dtype, kept):
    weight = torch.zeros(1000, dtype=dtype)
    weight[:kept] = 1
    assert bitmask_bytes(1000, 1 - kept / 1000, dtype.itemsize) == pytest.approx(encode_bitmask(weight).bytes)


def test_seconds_are_those_of_the_slower_limit():
    laptop = HARDWARE["cpu_laptop"]
    assert seconds(51.2e9, 1, laptop, "fp32") == pytest.approx(1)
    assert seconds(1, 0.192e12, laptop, "fp32") == pytest.approx(1)
    assert seconds(1, 0.192e12, laptop, "fp32", efficiency=0.5) == pytest.approx(2)
    assert laptop.peak("fp16") == laptop.peak("fp32")
