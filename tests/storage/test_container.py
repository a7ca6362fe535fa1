"""Headers and parts that contradict each other, and files of other kinds, are refused."""

import struct

import pytest
import torch
from safetensors.torch import save as write_safetensors

from course_lib import storage
from tests.storage.models_and_forgeries import forge, set_in


def fewer_values(header, parts):
    parts["1.weight#values"] = parts["1.weight#values"][1:].clone()


def stray_bits(header, parts):
    header["tensors"]["3.weight"]["shape"] = [10, 29]


def extra_tensor(header, parts):
    parts["surprise"] = torch.ones(2)


def missing_part(header, parts):
    del parts["1.weight#mask"]


def foreign_dtype(header, parts):
    parts["1.bias"] = parts["1.bias"].to(torch.bfloat16)


FORGERIES = {
    "a version from the future": (set_in("format", value=2), "format version is 2; this package reads version 1"),
    "no version": (set_in("format", value=None), "format version is None"),
    "an unknown encoding": (set_in("tensors", "1.weight", "encoding", value="pickle"), "encoding 'pickle' is unknown"),
    "an unknown dtype": (set_in("tensors", "1.weight", "dtype", value="object"), "unknown dtype"),
    "another dtype": (set_in("tensors", "1.bias", "dtype", value="fp16"), "should be 30 × fp16, found 30 × fp32"),
    "a huge shape": (set_in("tensors", "1.weight", "shape", value=[2**30, 2**30]), "stored as"),
    "a shape whose product overflows": (set_in("tensors", "1.weight", "shape", value=[2**62, 4]), "impossible shape"),
    "a negative shape": (set_in("tensors", "1.weight", "shape", value=[-30, -40]), "impossible shape"),
    "a shape of floats": (set_in("tensors", "1.weight", "shape", value=[30.0, 40.0]), "impossible shape"),
    "a shape of booleans": (set_in("tensors", "1.bias", "shape", value=[True]), "impossible shape"),
    "too many dimensions": (set_in("tensors", "1.bias", "shape", value=[1] * 99), "no shape of at most 8"),
    "fewer values than the mask keeps": (fewer_values, r"mask keeps \d+ entries but \d+ values"),
    "bits behind the end": (stray_bits, "stored as"),
    "an unexpected tensor": (extra_tensor, "holds 'surprise', which its header does not mention"),
    "a part of a foreign dtype": (foreign_dtype, "stored as BF16, which no encoding uses"),
    "a missing part": (missing_part, "tensor '1.weight': its part 'mask' is missing"),
    "sharing with itself": (set_in("tensors", "1.bias", value={"encoding": "shared", "with": "1.bias"}), "not stored"),
    "sharing with a number": (set_in("tensors", "1.bias", value={"encoding": "shared", "with": 7}), "not stored"),
    "a table that is a list": (set_in("tensors", value=[]), "no table of tensors"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_header_or_part_is_refused_in_one_line(stored_mlp, forgery):
    change, message = FORGERIES[forgery]
    with pytest.raises(storage.FormatError, match=message) as caught:
        storage.load(forge(stored_mlp, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header"),
        (b"PK\x03\x04 this is a zip archive, like a pickled checkpoint", "header"),
        (struct.pack("<Q", 2**63) + b"{}", "header"),
        (write_safetensors({"a": torch.ones(2)}), "no course header"),
        (write_safetensors({"a": torch.ones(2)}, {"course": "[" * 100_000}), "not JSON"),
        (write_safetensors({"a": torch.ones(2)}, {"course": "9" * 5000}), "not JSON"),
        (write_safetensors({"a": torch.ones(2)}, {"course": "[]"}), "format version is None"),
        (write_safetensors({"a": torch.ones(2)}, {"course": '{"format":1}'}), "no table of tensors"),
        (write_safetensors({"a": torch.ones(2)}, {"course": " " * (2**24 + 1)}), "characters; allowed are"),
    ],
)
def test_files_of_other_kinds_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(storage.FormatError, match=message) as caught:
        storage.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        storage.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        storage.inspect(tmp_path)
