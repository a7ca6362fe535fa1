"""The layout of few-bit integers, and forged packed files, which are refused."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load as read_safetensors
from safetensors.torch import save as write_safetensors

from course_lib import storage
from course_lib.storage.packed import pack_codes, unpack_codes
from tests.storage.models_and_forgeries import PACKED, packed_mlp


@settings(max_examples=80, deadline=None)
@given(bits=st.integers(1, 8), count=st.integers(0, 50), seed=st.integers(0, 99))
def test_codes_come_back_and_take_no_spare_bit(bits, count, seed):
    codes = torch.randint(2**bits, (count,), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    content = pack_codes(codes, bits)
    assert content.numel() == -(-count * bits // 8)
    assert torch.equal(unpack_codes(content, bits, count), codes)


def test_the_low_bit_comes_first():
    assert pack_codes(torch.tensor([1, 2, 3], dtype=torch.uint8), 4).tolist() == [0x21, 0x03]
    assert pack_codes(torch.tensor([7, 0, 1], dtype=torch.uint8), 3).tolist() == [0b01000111, 0]


@pytest.fixture(params=[False, True], ids=["packed", "codebook"])
def stored(request, tmp_path):
    return storage.save(packed_mlp(double=request.param), tmp_path / "packed.safetensors")


def forge(path, change):
    """The file with its header and parts changed by ``change(header, record, parts)``."""
    with safe_open(path, framework="pt") as stream:
        header = json.loads(stream.metadata()["course"])
    parts = read_safetensors(path.read_bytes())
    change(header["tensors"][PACKED], parts)
    path.write_bytes(write_safetensors(parts, {"course": json.dumps(header)}))
    return path


def fact(name, value):
    return lambda record, parts: record.__setitem__(name, value)


def part(name, change):
    def apply(record, parts):
        key = f"{PACKED}#{name}"
        parts[key] = change(parts[key])

    return apply


def without(name):
    return lambda record, parts: parts.pop(f"{PACKED}#{name}")


FORGERIES = {
    "no bits": (fact("bits", None), "None bits per code"),
    "nine bits": (fact("bits", 9), "9 bits per code; allowed are"),
    "bits that are a float": (fact("bits", 4.0), "4.0 bits per code"),
    "other bits": (fact("bits", 3), "codes of 3 bits take 450 bytes, found 600"),
    "no group": (fact("group", None), "group size is None"),
    "a group of nothing": (fact("group", 0), "group size is 0"),
    "a group beyond the tensor": (fact("group", 2**40), "group size is 1099511627776"),
    "an axis that is not there": (fact("axis", 2), "axis is 2, with 2 dimensions"),
    "a negative axis": (fact("axis", -1), "axis is -1"),
    "fewer codes": (part("codes", lambda codes: codes[:-1]), "take 600 bytes, found 599"),
    "more codes": (part("codes", lambda codes: torch.cat([codes, codes])), "take 600 bytes, found 1,200"),
    "codes of another dtype": (part("codes", lambda codes: codes.int()), "'codes' should be n × uint8"),
    "no codes": (without("codes"), "more than its .* bytes can hold"),
    "more entries than there are bytes": (fact("shape", [2**20, 40]), "more than its .* bytes can hold|stored as"),
}
PACKED_FORGERIES = {
    "fewer scales": (part("scales", lambda scales: scales[1:]), "'scales' should be 60 × fp32"),
    "other groups": (fact("group", 30), "'scales' should be 40 × fp32"),
    "scales of integers": (part("scales", lambda scales: scales.int()), "'scales' should be 60 × fp32"),
    "a scale of zero": (part("scales", lambda scales: scales * 0), "scales must be greater than 0"),
    "a scale below zero": (part("scales", lambda scales: -scales), "scales must be greater than 0"),
    "a scale that is no number": (part("scales", lambda scales: scales / 0 * 0), "'scales' holds NaN or infinity"),
    "fewer zero-points": (part("zero_points", lambda zeros: zeros[1:]), "60 codes of 4 bits take 30 bytes"),
}
CODEBOOK_FORGERIES = {
    "a table that is too short": (part("table", lambda table: table[:9]), "code 15, but its table has 9 values"),
    "no table": (without("table"), "part 'table' is missing"),
    "a table with infinity": (part("table", lambda table: table / 0), "'table' holds NaN or infinity"),
    "scales of nothing": (fact("scales", []), "says about its scales is not a table"),
    "scales without facts": (fact("scales", {}), "None bits per code"),
    "fewer scales": (part("scales.codes", lambda codes: codes[1:]), "60 codes of 8 bits take 60 bytes, found 59"),
    "scales without scales": (without("scales.scales"), "part 'scales' is missing"),
}


def refused(path, change, message):
    with pytest.raises(storage.FormatError, match=message) as caught:
        storage.load(forge(path, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_file_of_integers_is_refused_in_one_line(stored, forgery):
    refused(stored, *FORGERIES[forgery])


@pytest.mark.parametrize("forgery", PACKED_FORGERIES)
def test_a_forged_packed_file_is_refused(tmp_path, forgery):
    refused(storage.save(packed_mlp(), tmp_path / "m.safetensors"), *PACKED_FORGERIES[forgery])


@pytest.mark.parametrize("forgery", CODEBOOK_FORGERIES)
def test_a_forged_codebook_is_refused(tmp_path, forgery):
    refused(storage.save(packed_mlp(double=True), tmp_path / "m.safetensors"), *CODEBOOK_FORGERIES[forgery])


def test_bits_behind_the_last_code_are_refused():
    with pytest.raises(storage.FormatError, match="bits behind its last code"):
        unpack_codes(torch.tensor([0xFF], dtype=torch.uint8), 3, 2)


def test_a_codebook_needs_no_scales(tmp_path):
    codes = torch.tensor([[0, 1, 1], [2, 0, 1]], dtype=torch.uint8)
    encoded = storage.encode_codebook(codes, torch.tensor([-1.0, 0.5, 2.0]), bits=2)
    assert storage.decode(encoded).tolist() == [[-1, 0.5, 0.5], [2, -1, 0.5]]
    assert encoded.bytes == 2 + 12
    per_row = storage.encode_codebook(codes, torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([1.0, 10.0]), bits=2, group=3)
    assert storage.decode(per_row).tolist() == [[-1, 0.5, 0.5], [20, -10, 5]]


def test_inspect_counts_every_part(stored):
    record = next(record for record in storage.inspect(stored) if record.name == PACKED)
    assert record.encoding in ("packed", "codebook")
    assert record.bytes == (600 + 240 + 30 if record.encoding == "packed" else 600 + 64 + 60 + 12 + 3)
