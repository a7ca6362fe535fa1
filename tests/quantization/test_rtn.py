"""Round-to-nearest: the bits of the file."""

from __future__ import annotations

from course_lib import quantization, storage
from tests.quantization.small_transformers import small


def test_bits_in_the_file_are_the_bits_that_were_asked_for(tmp_path):
    result = quantization.rtn(small("llama"), 2, group_size=32)
    record = next(it for it in storage.inspect(result.save(tmp_path / "m.safetensors")) if "down_proj" in it.name)
    assert record.bytes == 64 * 32 * 2 // 8 + 64 * (2 * 8 + 2) // 8  # codes, and a scale and a zero-point per group
