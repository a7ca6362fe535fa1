"""Column scales and unquantized columns must be exact in fp16 and fit the matrix."""

import pytest
import torch

from course_lib import storage


@pytest.fixture
def packed():
    codes = torch.randint(16, (4, 32)).to(torch.uint8)
    return storage.encode_packed(codes, torch.rand(8) + 0.1, None, bits=4, group=16)


def test_columns_are_divided_or_replaced(packed):
    divisor, kept = torch.full((32,), 0.5), torch.ones(4, 2)
    divided = storage.encode_columns(packed, divisor=divisor)
    assert torch.equal(storage.decode(divided), storage.decode(packed) / 0.5)
    replaced = storage.encode_columns(packed, kept=kept, kept_index=torch.tensor([1, 7]))
    assert (storage.decode(replaced)[:, [1, 7]] == 1).all()


def test_values_that_fp16_does_not_hold_are_refused(packed):
    with pytest.raises(ValueError, match="exactly"):
        storage.encode_columns(packed, divisor=torch.full((32,), 0.1))
    with pytest.raises(ValueError, match="belong together"):
        storage.encode_columns(packed, kept=torch.ones(4, 1))


@pytest.mark.parametrize("index", [[7, 1], [1, 32], [-1, 3]])
def test_columns_that_do_not_ascend_are_refused(packed, index):
    good = storage.encode_columns(packed, kept=torch.ones(4, 2), kept_index=torch.tensor([1, 7]))
    parts = {**good.parts, "kept_index": torch.tensor(index, dtype=torch.int16)}
    with pytest.raises(storage.FormatError, match="must ascend"):
        storage.decode(storage.Encoded(good.encoding, good.dtype, good.shape, parts, good.facts))


def test_a_divisor_of_zero_is_refused(packed):
    with pytest.raises(storage.FormatError, match="divisors must be positive"):
        storage.decode(storage.encode_columns(packed, divisor=torch.zeros(32)))
