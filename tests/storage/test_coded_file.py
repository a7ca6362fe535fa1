"""Entropy-coded files give back every encoding bit for bit, and refuse damage and impossible claims."""

import struct
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as write_safetensors

from course_lib import models, storage
from course_lib.storage import coded_file, coded_header
from course_lib.storage.encodings import encode_dense
from tests.storage.models_and_forgeries import BERT, MLP, PACKED, forge, packed_mlp, sparse_mlp

CODERS = ["arithmetic", "huffman"]
SMALL_RESNET = {"builder": "small_resnet", "arguments": {"channels": [4, 8], "blocks": [1, 1]}}
TOKENS = {"input_ids": torch.arange(16).reshape(2, 8), "attention_mask": torch.ones(2, 8, dtype=torch.long)}


def uniform_mlp(largest=3, sizes=(40, 30, 10), steps=torch.float16):
    """Both of its weights are stored as ``uniform``."""
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})
    encodings = {}
    for name, parameter in list(model.named_parameters()):
        if parameter.dim() == 2:
            levels = torch.randint(-largest, largest + 1, parameter.shape)
            encodings[name] = storage.encode_uniform(levels, (torch.rand(len(parameter)) + 0.1).to(steps))
            parameter.data = storage.decode(encodings[name])
    storage.set_encodings(model, encodings)
    return model


def columns_mlp():
    model = packed_mlp()
    packed = storage.encodings_of(model)[PACKED]
    encoded = storage.encode_columns(
        packed, divisor=torch.full((40,), 0.5), kept=torch.ones(30, 2), kept_index=torch.tensor([1, 7])
    )
    model.get_parameter(PACKED).data = storage.decode(encoded)
    storage.set_encodings(model, {PACKED: encoded})
    return model


MODELS = {
    "packed": packed_mlp,
    "packed_without_zero_points": lambda: without_zero_points(packed_mlp()),
    "codebook": lambda: packed_mlp(double=True),
    "packed_columns": columns_mlp,
    "bitmask": sparse_mlp,
    "uniform": uniform_mlp,
    "uniform_of_huge_levels": lambda: uniform_mlp(2**31 - 2, steps=torch.float32),
}


def without_zero_points(model):
    codes, scales, _ = storage.packed_parts(storage.encodings_of(model)[PACKED])
    encoded = storage.encode_packed(codes, scales, None, bits=4, group=20, axis=1)
    model.get_parameter(PACKED).data = storage.decode(encoded)
    storage.set_encodings(model, {PACKED: encoded})
    return model


def same_state(a, b):
    states = a.state_dict(), b.state_dict()
    assert list(states[0]) == list(states[1])
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("kind", MODELS)
def test_every_encoding_comes_back_bit_for_bit_and_is_attached_again(tmp_path, kind, coder):
    model = MODELS[kind]()
    path = storage.save(model, tmp_path / "coded.safetensors", coder=coder)
    loaded = storage.load(path)
    assert same_state(model, loaded)
    attached, expected = storage.encodings_of(loaded), storage.encodings_of(model)
    assert attached.keys() == expected.keys()
    for name, encoded in expected.items():
        assert (attached[name].encoding, attached[name].facts) == (encoded.encoding, encoded.facts)
        assert attached[name].parts.keys() == encoded.parts.keys()
        for part, value in encoded.parts.items():
            assert attached[name].parts[part].dtype == value.dtype
            assert torch.equal(attached[name].parts[part], value)
    again = storage.save(loaded, tmp_path / "again.safetensors", coder=coder)
    assert again.read_bytes() == path.read_bytes()
    plain = storage.save(loaded, tmp_path / "plain.safetensors")
    assert plain.read_bytes() == storage.save(model, tmp_path / "direct.safetensors").read_bytes()


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("architecture", "inputs"), [(MLP, torch.randn(4, 6)), (SMALL_RESNET, torch.randn(2, 3, 32, 32)), (BERT, TOKENS)]
)
def test_any_model_gives_the_same_logits_as_without_a_coder(tmp_path, architecture, inputs, dtype, coder):
    model = models.build(architecture).eval()
    coded = storage.load(storage.save(model, tmp_path / "coded.safetensors", dtype=dtype, coder=coder))
    plain = storage.load(storage.save(model, tmp_path / "plain.safetensors", dtype=dtype))
    with torch.no_grad():
        assert torch.equal(models.forward(coded, inputs), models.forward(plain, inputs))


@pytest.mark.parametrize("coder", CODERS)
def test_inspect_knows_the_coder_and_its_records_add_up_to_the_stream(tmp_path, coder):
    path = storage.save(uniform_mlp(), tmp_path / "coded.safetensors", coder=coder)
    records, size = storage.inspect(path), storage.coded_size(path)
    assert {(record.name, record.encoding, record.coder) for record in records} == {
        ("1.weight", "uniform", coder), ("1.bias", "dense", coder),
        ("3.weight", "uniform", coder), ("3.bias", "dense", coder),
    }  # fmt: skip
    total = sum(record.bytes for record in records)
    assert size.coder == coder
    assert 0.9 * total < size.stream + 4 * len(records) and total <= size.stream + 4 * len(records)
    assert size.ideal <= size.stream
    assert size.stream + size.header < path.stat().st_size < size.stream + size.header + 100


def test_a_coded_file_is_far_smaller_and_the_arithmetic_coder_is_within_half_a_percent_of_its_model(tmp_path):
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": [300, 200, 10]}})
    levels = (torch.randn(200, 300) * 0.6).round().int()
    encoded = storage.encode_uniform(levels, torch.tensor([0.5]))
    model[1].weight.data = storage.decode(encoded)
    storage.set_encodings(model, {"1.weight": encoded})
    sizes = {
        coder: storage.stored_bytes(storage.save(model, tmp_path / f"{coder}.safetensors", coder=coder))
        for coder in (None, *CODERS)
    }
    counts = levels.unique(return_counts=True)[1] / levels.numel()
    entropy = -(counts * counts.log2()).sum().item() * levels.numel() / 8
    assert sizes["arithmetic"] < sizes["huffman"] < sizes[None] / 3
    size = storage.coded_size(tmp_path / "arithmetic.safetensors")
    assert size.stream <= 1.005 * size.ideal
    assert storage.code_length([levels]) / 8 < 1.01 * entropy
    records = {record.name: record.bytes for record in storage.inspect(tmp_path / "arithmetic.safetensors")}
    assert records["1.weight"] == pytest.approx(entropy, rel=0.02)
    huffman = storage.coded_size(tmp_path / "huffman.safetensors")
    assert 1.01 * huffman.ideal < huffman.stream < 1.2 * huffman.ideal


def test_tied_weights_are_coded_once_and_stay_tied(tmp_path):
    model = models.build({"builder": "mlp", "arguments": {"sizes": [30, 30, 30]}})
    untied = storage.stored_bytes(storage.save(model, tmp_path / "untied.safetensors", coder="arithmetic"))
    model[3].weight = model[1].weight
    path = storage.save(model, tmp_path / "tied.safetensors", coder="arithmetic")
    loaded = storage.load(path)
    assert loaded[1].weight is loaded[3].weight and same_state(model, loaded)
    assert storage.stored_bytes(path) < untied - 2500
    assert [record.bytes for record in storage.inspect(path) if record.encoding == "shared"] == [0]


@pytest.mark.parametrize("coder", [None, *CODERS])
def test_a_tensor_may_be_shared_with_one_that_comes_later(tmp_path, coder):
    model = models.build({"builder": "mlp", "arguments": {"sizes": [30, 30, 30]}})
    model[3].weight = model[1].weight
    if coder:
        encoded = {name: encode_dense(value) for name, value in model.state_dict().items() if name != "1.weight"}
        path = tmp_path / "coded.safetensors"
        path.write_bytes(coded_file.coded_bytes(models.describe(model), encoded, {"1.weight": "3.weight"}, coder))
    else:
        path = forge(storage.save(model, tmp_path / "tied.safetensors"), swap_plain_owners)
    loaded = storage.load(path)
    assert loaded[1].weight is loaded[3].weight and same_state(model, loaded)


def swap_plain_owners(header, parts):
    records = header["tensors"]
    records["1.weight"], records["3.weight"] = {"encoding": "shared", "with": "3.weight"}, records["1.weight"]
    parts["3.weight"] = parts.pop("1.weight")


def test_what_is_wrong_with_an_argument_is_said(tmp_path):
    with pytest.raises(ValueError, match="coder must be one of 'arithmetic', 'huffman'; got 'zip'"):
        storage.save(models.build(MLP), tmp_path / "m", coder="zip")
    path = storage.save(models.build(MLP), tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match="must be a file saved with a coder"):
        storage.coded_size(path)


def test_a_model_that_would_take_no_bytes_at_all_is_not_coded(tmp_path, monkeypatch):
    monkeypatch.setattr(coded_file, "FREE_ENTRIES", 0)
    monkeypatch.setattr(coded_file, "ENTRIES_PER_BYTE", 1)
    with pytest.raises(ValueError, match=r"cannot be saved with a coder, because it claims .*coder=None"):
        storage.save(sparse_mlp(1.0), tmp_path / "m.safetensors", coder="arithmetic")
    assert list(tmp_path.iterdir()) == []


def many(header):
    header["tensors"] = [0] * (coded_header.MAX_TENSORS + 1)


def payload_of(path):
    content = path.read_bytes()
    return content[8 + struct.unpack("<Q", content[:8])[0] :]


def write_payload(path, payload, shapes=None):
    """A file with this payload; with ``shapes`` its checksum is made right again."""
    if shapes is not None:
        payload = coded_file.checksum_of(payload[4:], shapes).to_bytes(4, "little") + payload[4:]
    tensor = torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.zeros(0, dtype=torch.uint8)
    path.write_bytes(write_safetensors({coded_file.CODED_KEY: tensor}))
    return path


def with_header(path, change, shapes=None):
    """A copy of the file with its header changed by ``change(header)`` and the checksum right."""
    payload = payload_of(path)
    size = int.from_bytes(payload[4:7], "little")
    header = coded_header.inflate(payload[7 : 7 + size])
    change(header)
    text = coded_header.deflate(header)
    shapes = shapes or {name: tuple(value.shape) for name, value in storage.load(path).state_dict().items()}
    content = bytes(4) + len(text).to_bytes(3, "little") + text + payload[7 + size :]
    return write_payload(path.with_name("forged.safetensors"), content, shapes)


@pytest.fixture(scope="module", params=CODERS)
def coded(request, tmp_path_factory):
    """A coded file with levels of all sizes and plain values, and the shapes of its tensors."""
    model = uniform_mlp(largest=300)
    path = storage.save(model, tmp_path_factory.mktemp(request.param) / "coded.safetensors", coder=request.param)
    return path, {name: tuple(value.shape) for name, value in model.state_dict().items()}


@settings(max_examples=250, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), checked=st.booleans())
def test_a_damaged_byte_never_does_more_than_a_format_error(coded, where, flip, checked):
    path, shapes = coded
    payload = bytearray(payload_of(path))
    payload[int(where * len(payload))] ^= flip
    damaged = write_payload(path.with_name("damaged.safetensors"), bytes(payload), None if checked else shapes)
    if checked:  # the checksum notices every damage; without it, other levels may be decoded
        with pytest.raises(storage.FormatError, match=r"^damaged.safetensors cannot be loaded: "):
            storage.load(damaged)
    else:
        loads_or_refuses(damaged)


def loads_or_refuses(path):
    try:
        storage.load(path)
    except storage.FormatError as error:
        assert "\n" not in str(error)


@settings(max_examples=60, deadline=None)
@given(kept=st.floats(0, 1, exclude_max=True), checked=st.booleans())
def test_a_truncated_stream_is_refused(coded, kept, checked):
    path, shapes = coded
    payload = payload_of(path)
    cut = write_payload(path.with_name("cut.safetensors"), payload[: int(kept * len(payload))], None)
    if checked:
        with pytest.raises(storage.FormatError, match=r"^cut.safetensors cannot be loaded: "):
            storage.load(cut)
    elif len(payload) * kept > 7:
        loads_or_refuses(write_payload(cut, payload[: int(kept * len(payload))], shapes))


@settings(max_examples=40, deadline=None)
@given(noise=st.binary(min_size=0, max_size=400))
def test_noise_in_place_of_the_stream_ends_in_time(coded, noise):
    path, shapes = coded
    payload = payload_of(path)
    start = 7 + int.from_bytes(payload[4:7], "little")
    loads_or_refuses(write_payload(path.with_name("noise.safetensors"), payload[:start] + noise, shapes))


def bomb(header):
    header["architecture"]["arguments"]["sizes"] = [2**16, 2**15, 10]


def wide(header):
    header["architecture"]["arguments"]["sizes"] = [40, 2**40, 10]


def deep(header):
    header["architecture"]["arguments"]["sizes"] = [40, *[3] * 20_000, 10]


def kind(key, value):
    def change(header):
        header["kinds"][1][key] = value

    return change


def part(claim):
    return lambda header: header["kinds"][1].update(parts={"steps": claim})


FORGERIES = {
    "a stream of 2^31 symbols": (bomb, r"claims 2,147,\d{3},\d{3} entries; allowed for its"),
    "an argument beyond all limits": (wide, "larger than anything that is stored"),
    "many layers": (deep, "far more than tensors are stored"),
    "another architecture": (lambda header: header.update(architecture=MLP), "its checksum differs"),
    "no architecture": (lambda header: header.update(architecture=3), "architecture is not"),
    "fewer tensors": (lambda header: header["tensors"].pop(), "its architecture has 4 tensors, it stores 3"),
    "too many tensors": (many, r"has 16,385 tensors; allowed are 16,384"),
    "a kind that is not there": (lambda header: header["tensors"].append(9), "names a kind of tensor that is not"),
    "a negative kind": (lambda header: header["tensors"].__setitem__(0, -1), "names a kind of tensor that is not"),
    "no kinds": (lambda header: header.pop("kinds"), "no table of tensors"),
    "another coder": (lambda header: header.update(coder="zip"), "its coder 'zip' is unknown"),
    "a list as its coder": (lambda header: header.update(coder=["zip"]), "is unknown here"),
    "an unknown encoding": (kind("encoding", "pickle"), "encoding 'pickle' is unknown"),
    "an encoding that is a list": (kind("encoding", []), "unknown dtype or encoding"),
    "an unknown dtype": (kind("dtype", "object"), "unknown dtype or encoding"),
    "parts that are a list": (kind("parts", []), "no table of at most 16 parts"),
    "too many parts": (kind("parts", {str(part): "fp16" for part in range(17)}), "no table of at most 16 parts"),
    "a part of an unknown dtype": (part("object"), "unknown dtype"),
    "a part of no dtype": (part([]), "unknown dtype"),
    "a part of negative size": (part(["fp16", -1]), "impossible shape"),
    "a part of size true": (part(["fp16", True]), "impossible shape"),
    "a part of 2^60 entries": (part(["fp16", 2**30, 2**30]), "impossible shape"),
    "a part of 2^30 entries": (part(["fp16", 2**30]), "entries; allowed for its"),
    "a tensor shared with itself": (kind("encoding", "shared"), "share memory with None"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_header_is_refused_in_one_line_before_anything_is_decoded(coded, forgery, monkeypatch):
    path, shapes = coded
    change, message = FORGERIES[forgery]
    if forgery == "a stream of 2^31 symbols":
        shapes = {"1.weight": (2**15, 2**16), "1.bias": (2**15,), "3.weight": (10, 2**15), "3.bias": (10,)}
    forged = with_header(path, change, shapes)
    monkeypatch.setattr(coded_file.CodedContainer, "_decode", lambda container: pytest.fail("it was decoded"))
    with pytest.raises(storage.FormatError, match=message) as caught:
        storage.load(forged)
    assert "\n" not in str(caught.value)


def test_a_few_bytes_that_claim_millions_of_symbols_end_in_time(coded):
    path, _ = coded

    def millions(header):
        header["architecture"]["arguments"]["sizes"] = [2**11, 2**10, 10]

    shapes = {"1.weight": (2**10, 2**11), "1.bias": (2**10,), "3.weight": (10, 2**10), "3.bias": (10,)}
    with pytest.raises(storage.FormatError):
        storage.load(with_header(path, millions, shapes))


def test_a_header_that_inflates_without_end_is_refused(coded):
    path, shapes = coded
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=coded_header.TYPICAL_HEADER)
    text = squeezer.compress(b" " * (coded_header.MAX_HEADER + 1)) + squeezer.flush()
    payload = bytes(4) + len(text).to_bytes(3, "little") + text
    with pytest.raises(storage.FormatError, match=r"more than 1,048,576 characters"):
        storage.load(write_payload(path.with_name("endless.safetensors"), payload, shapes))


@pytest.mark.parametrize("size", [0, 3, 7, 8])
def test_a_payload_that_is_too_short_is_refused(coded, size):
    path, _ = coded
    with pytest.raises(storage.FormatError, match=r"^short.safetensors cannot be loaded"):
        storage.load(write_payload(path.with_name("short.safetensors"), payload_of(path)[:size]))
