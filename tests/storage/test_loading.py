"""Loading and inspecting stored files, whole, truncated and damaged."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import models, storage
from tests.storage.models_and_forgeries import RESNET, sparse_mlp


def test_loading_leaves_the_random_generator_alone(tmp_path):
    path = storage.save(models.build(RESNET), tmp_path / "model.safetensors")
    before = torch.get_rng_state()
    storage.load(path)
    assert torch.equal(before, torch.get_rng_state())


def test_size_is_the_file_and_falls_with_sparsity(tmp_path):
    dense = storage.save(sparse_mlp(0.0), tmp_path / "dense.safetensors")
    sparse = storage.save(sparse_mlp(0.9), tmp_path / "sparse.safetensors")
    assert storage.stored_bytes(dense) == dense.stat().st_size
    records = {record.name: record for record in storage.inspect(sparse)}
    weight = records["1.weight"]
    assert (weight.encoding, weight.shape) == ("bitmask", (30, 40))
    assert weight.bytes == math.ceil(1200 / 8) + 4 * round(1200 * (1 - weight.sparsity))
    assert records["1.bias"].encoding == "dense"
    assert storage.stored_bytes(sparse) < 0.5 * storage.stored_bytes(dense)


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_damaged_byte_never_does_more_than_a_format_error(stored_mlp, where, flip):
    content = bytearray(stored_mlp.read_bytes())
    content[int(where * len(content))] ^= flip
    damaged = stored_mlp.with_name("damaged.safetensors")
    damaged.write_bytes(content)
    try:
        storage.load(damaged)  # a flipped bit inside the values cannot be seen
    except storage.FormatError as error:
        assert "\n" not in str(error)


@settings(max_examples=30, deadline=None)
@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(stored_mlp, kept):
    cut = stored_mlp.with_name("cut.safetensors")
    cut.write_bytes(stored_mlp.read_bytes()[: int(kept * stored_mlp.stat().st_size)])
    with pytest.raises(storage.FormatError, match=r"^cut.safetensors cannot be loaded: "):
        storage.load(cut)
