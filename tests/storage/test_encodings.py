"""Every encoding gives back its tensor; parts that do not fit are refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import models, storage
from course_lib.storage import encodings
from tests.storage.models_and_forgeries import MLP


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 7), min_size=0, max_size=4),
    sparsity=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float16]),
    seed=st.integers(0, 2**31),
)
def test_every_encoding_gives_back_what_went_in(shape, sparsity, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=generator).to(dtype) * (torch.rand(shape, generator=generator) >= sparsity)
    for encoding in (it for it in encodings.ENCODINGS.values() if it.encode is not None):
        decoded = encodings.decode(encoding.encode(tensor))
        assert decoded.dtype == dtype
        assert torch.equal(decoded, tensor)


def test_more_entries_than_the_bytes_can_hold_are_refused_before_memory_is_taken():
    mask, values = torch.zeros(10, dtype=torch.uint8), torch.zeros(0)
    with pytest.raises(storage.FormatError, match="more than its 10 bytes can hold"):
        encodings.decode(encodings.Encoded("bitmask", "fp32", (2**20, 2**20), {"mask": mask, "values": values}))


def test_bits_behind_the_end_of_a_mask_are_refused():
    mask, values = torch.tensor([0b10000001], dtype=torch.uint8), torch.zeros(2)
    with pytest.raises(storage.FormatError, match="mask keeps 2 entries"):
        encodings.decode(encodings.Encoded("bitmask", "fp32", (5,), {"mask": mask, "values": values}))


def test_a_further_encoding_can_be_registered(tmp_path, monkeypatch):
    monkeypatch.setitem(
        encodings.ENCODINGS,
        "halves",
        encodings.Encoding(None, lambda it: it.part("ints", dtype="int8").float().view(it.shape) * it.facts["step"], 1),
    )
    model = models.build(MLP)
    ints = torch.randint(-8, 8, (5, 6), dtype=torch.int8)
    model[1].weight.data = ints.float() * 0.5
    encoded = encodings.Encoded("halves", "fp32", (5, 6), {"ints": ints}, {"step": 0.5})
    path = storage.save(model, tmp_path / "m.safetensors", encoding={"1.weight": encoded})
    assert torch.equal(storage.load(path)[1].weight, model[1].weight)
    assert storage.inspect(path)[0].bytes == 30
    model[1].weight.data[0, 0] += 0.25
    with pytest.raises(ValueError, match="holds other values than the model"):
        storage.save(model, path, encoding={"1.weight": encoded})
