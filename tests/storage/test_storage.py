"""Round trips, sizes, and files that lie."""

import json
import math
import os
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as read_safetensors
from safetensors.torch import save as write_safetensors
from torch import nn
from torch.nn.utils import prune

from course_lib import models, storage
from course_lib.storage import container, encodings

MLP = {"builder": "mlp", "arguments": {"sizes": [6, 5, 3]}}
RESNET = {"builder": "resnet18", "arguments": {"num_classes": 10}}
BERT = {
    "builder": "bert",
    "arguments": {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 12,
    },
}  # fmt: skip
TOKENS = {"input_ids": torch.arange(16).reshape(2, 8), "attention_mask": torch.ones(2, 8, dtype=torch.long)}


def sparse_mlp(sparsity=0.9, sizes=(40, 30, 10)):
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})
    with torch.no_grad():
        for layer in models.prunable_layers(model).values():
            layer.weight.mul_(torch.rand_like(layer.weight) >= sparsity)
    return model


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("encoding", ["auto", "dense", "bitmask"])
@pytest.mark.parametrize(
    ("architecture", "inputs"), [(MLP, torch.randn(4, 6)), (RESNET, torch.randn(2, 3, 32, 32)), (BERT, TOKENS)]
)
def test_a_loaded_model_gives_the_same_logits_bit_for_bit(tmp_path, architecture, inputs, encoding):
    model = models.build(architecture)
    loaded = storage.load(storage.save(model, tmp_path / "model.safetensors", encoding=encoding))
    assert not loaded.training
    assert models.describe(loaded) == architecture
    with torch.no_grad():
        assert same_bits(models.forward(loaded, inputs), models.forward(model, inputs))


def test_fp16_stores_the_model_that_half_gives(tmp_path):
    model = models.build(RESNET)
    loaded = storage.load(storage.save(model, tmp_path / "half.safetensors", dtype="fp16"))
    expected = model.half().float().state_dict()
    assert all(same_bits(value, expected[name]) for name, value in loaded.state_dict().items())
    assert loaded.bn1.num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_saving_what_was_loaded_gives_the_identical_file(tmp_path, dtype):
    first = storage.save(sparse_mlp(), tmp_path / "first.safetensors", dtype=dtype)
    second = storage.save(storage.load(first), tmp_path / "second.safetensors", dtype=dtype)
    assert first.read_bytes() == second.read_bytes()


def test_the_order_in_which_arguments_were_given_leaves_no_trace(tmp_path):
    reordered = {"builder": "bert", "arguments": dict(reversed(BERT["arguments"].items()))}
    files = []
    for architecture in (BERT, reordered):
        torch.manual_seed(0)
        files.append(storage.save(models.build(architecture), tmp_path / f"{len(files)}.safetensors").read_bytes())
    assert files[0] == files[1]


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


def test_auto_never_makes_a_bigger_file_than_either_encoding(tmp_path):
    for sparsity in (0.0, 0.02, 0.05, 0.5, 1.0):
        model = sparse_mlp(sparsity)
        sizes = {
            encoding: storage.stored_bytes(storage.save(model, tmp_path / "m.safetensors", encoding=encoding))
            for encoding in ("auto", "dense", "bitmask")
        }
        assert sizes["auto"] <= min(sizes["dense"], sizes["bitmask"]) + 16


def test_one_tensor_can_have_its_own_encoding(tmp_path):
    path = storage.save(sparse_mlp(), tmp_path / "m.safetensors", encoding={"1.weight": "dense"})
    kinds = {record.name: record.encoding for record in storage.inspect(path)}
    assert (kinds["1.weight"], kinds["3.weight"]) == ("dense", "bitmask")


def test_masks_are_stored_without_touching_the_model(tmp_path):
    model = models.build(MLP)
    before = model[1].weight.clone()
    masks = {"1": torch.rand(5, 6) > 0.5, "3.weight": torch.zeros(3, 5, dtype=torch.bool)}
    loaded = storage.load(storage.save(model, tmp_path / "m.safetensors", masks=masks))
    assert torch.equal(loaded[1].weight, before * masks["1"])
    assert loaded[3].weight.count_nonzero() == 0
    assert torch.equal(model[1].weight, before)


def test_masks_that_fit_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="masks names 'fc'"):
        storage.save(models.build(MLP), tmp_path / "m", masks={"fc": torch.ones(5, 6, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"shape \(6, 5\); allowed is \(5, 6\)"):
        storage.save(models.build(MLP), tmp_path / "m", masks={"1": torch.ones(6, 5, dtype=torch.bool)})


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    model = models.build({"builder": "mlp", "arguments": {"sizes": [30, 30, 30]}})
    untied = storage.stored_bytes(storage.save(model, tmp_path / "untied.safetensors"))
    model[3].weight = model[1].weight
    path = storage.save(model, tmp_path / "tied.safetensors", masks={"3": torch.eye(30, dtype=torch.bool)})
    loaded = storage.load(path)
    assert loaded[1].weight is loaded[3].weight
    assert isinstance(loaded[1].weight, nn.Parameter)
    assert loaded[1].weight.count_nonzero() == 30
    assert untied - storage.stored_bytes(path) > 3600
    assert [record.bytes for record in storage.inspect(path) if record.encoding == "shared"] == [0]


def test_tensors_that_are_not_contiguous_come_back_right(tmp_path):
    model = models.build(RESNET).to(memory_format=torch.channels_last)
    model.fc.weight = nn.Parameter(torch.randn(512, 10).T)
    for encoding in ("dense", "bitmask"):
        loaded = storage.load(storage.save(model, tmp_path / "m.safetensors", encoding=encoding))
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


SPECIAL = [float("nan"), float("inf"), -float("inf"), 1e-45, -1e-45, 3.4e38, 0.0]


def test_special_values_are_kept_and_minus_zero_becomes_zero_only_in_a_bitmask(tmp_path):
    model = models.build({"builder": "mlp", "arguments": {"sizes": [7, 1]}})
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([SPECIAL]))
        model[1].bias.fill_(-0.0)
    dense = storage.load(storage.save(model, tmp_path / "m.safetensors", encoding="dense"))
    masked = storage.load(storage.save(model, tmp_path / "m.safetensors", encoding="bitmask"))
    assert same_bits(dense[1].weight.detach(), model[1].weight.detach())
    assert same_bits(masked[1].weight.detach(), model[1].weight.detach())
    assert (dense[1].bias.signbit().item(), masked[1].bias.signbit().item()) == (True, False)


def test_a_value_that_fp16_cannot_hold_is_refused(tmp_path):
    model = models.build(MLP)
    model[1].bias.data[0] = 1e6
    with pytest.raises(ValueError, match="beyond the range of fp16; store it with dtype='fp32'"):
        storage.save(model, tmp_path / "m.safetensors", dtype="fp16")
    assert list(tmp_path.iterdir()) == []


def test_models_that_cannot_be_stored_are_refused_with_the_remedy(tmp_path):
    model = models.build(MLP)
    prune.l1_unstructured(model[1], "weight", 0.5)
    with pytest.raises(ValueError, match=r"torch.nn.utils.prune.remove\(model.get_submodule\('1'\), 'weight'\)"):
        storage.save(model, tmp_path / "m")
    with pytest.raises(ValueError, match=r"float64.*model.float\(\) helps"):
        storage.save(models.build(MLP).double(), tmp_path / "m")
    with pytest.raises(ValueError, match="has no description"):
        storage.save(nn.Linear(2, 2), tmp_path / "m")
    with pytest.raises(ValueError, match="encoding must be one of 'auto', 'dense', 'bitmask'"):
        storage.save(models.build(MLP), tmp_path / "m", encoding="zip")
    with pytest.raises(ValueError, match="dtype must be one of"):
        storage.save(models.build(MLP), tmp_path / "m", dtype="int8")


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = storage.save(models.build(MLP), tmp_path / "m.safetensors")
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        storage.save(models.build(MLP), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_room_can_add_an_encoding_of_its_own(tmp_path, monkeypatch):
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


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_damaged_byte_never_does_more_than_a_format_error(stored, where, flip):
    content = bytearray(stored.read_bytes())
    content[int(where * len(content))] ^= flip
    damaged = stored.with_name("damaged.safetensors")
    damaged.write_bytes(content)
    try:
        storage.load(damaged)  # a flipped bit inside the values cannot be seen
    except storage.FormatError as error:
        assert "\n" not in str(error)


@settings(max_examples=30, deadline=None)
@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(stored, kept):
    cut = stored.with_name("cut.safetensors")
    cut.write_bytes(stored.read_bytes()[: int(kept * stored.stat().st_size)])
    with pytest.raises(storage.FormatError, match=r"^cut.safetensors cannot be loaded: "):
        storage.load(cut)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return storage.save(sparse_mlp(), tmp_path_factory.mktemp("stored") / "m.safetensors")


def forge(stored, change):
    """A copy of the stored file after ``change(header, parts)``."""
    content = stored.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][container.HEADER_KEY])
    parts = read_safetensors(content)
    change(header, parts)
    forged = stored.with_name("forged.safetensors")
    forged.write_bytes(write_safetensors(parts, {container.HEADER_KEY: json.dumps(header)}))
    return forged


def set_in(*path, value):
    def change(header, parts):
        target = header
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


def grow_argument(header, parts):
    header["architecture"]["arguments"]["sizes"] = [40, 2**40, 10]


def wide_layer(header, parts):
    header["architecture"]["arguments"]["sizes"] = [40, 2**19, 2**19, 10]


def fewer_values(header, parts):
    parts["1.weight#values"] = parts["1.weight#values"][1:].clone()


def stray_bits(header, parts):
    header["tensors"]["3.weight"]["shape"] = [10, 29]


def extra_tensor(header, parts):
    parts["surprise"] = torch.ones(2)


def extra_record(header, parts):
    header["tensors"]["surprise"] = {"encoding": "dense", "dtype": "fp32", "shape": [2]}
    parts["surprise"] = torch.ones(2)


def missing_record(header, parts):
    del header["tensors"]["1.bias"], parts["1.bias"]


def missing_part(header, parts):
    del parts["1.weight#mask"]


def deep_bert(header, parts):
    header["architecture"] = {"builder": "bert", "arguments": {**BERT["arguments"], "num_hidden_layers": 2**19}}


def endless_bert(header, parts):
    header["architecture"] = {"builder": "bert", "arguments": {**BERT["arguments"], "num_labels": 2**40}}


def code_from_the_hub(header, parts):
    header["architecture"] = {"builder": "bert", "arguments": {**BERT["arguments"], "attn_implementation": "some/repo"}}


def code_by_another_name(header, parts):
    arguments = {**BERT["arguments"], "_attn_implementation_internal": "some/repo"}
    header["architecture"] = {"builder": "bert", "arguments": arguments}


def foreign_dtype(header, parts):
    parts["1.bias"] = parts["1.bias"].to(torch.bfloat16)


LIES = {
    "a version from the future": (set_in("format", value=2), "format version is 2; this package reads version 1"),
    "no version": (set_in("format", value=None), "format version is None"),
    "an unknown builder": (set_in("architecture", "builder", value="os.system"), "builder must be one of"),
    "a builder that is not a name": (set_in("architecture", "builder", value=["mlp"]), "builder must be one of"),
    "arguments that are not a dict": (set_in("architecture", "arguments", value=[1]), "architecture is not"),
    "no architecture": (set_in("architecture", value=None), "architecture is not"),
    "arguments nobody knows": (set_in("architecture", "arguments", "depth", value=3), "cannot be built"),
    "a negative width": (set_in("architecture", "arguments", "sizes", value=[40, -30, 10]), "cannot be built"),
    "an argument beyond all that is stored": (grow_argument, "larger than anything that is stored"),
    "a layer that would take a terabyte": (wide_layer, "misses 2 tensors"),
    "half a million layers": (deep_bert, "far more than tensors are stored"),
    "a class for every atom": (endless_bert, "larger than anything that is stored"),
    "code from a model hub": (code_from_the_hub, "attn_implementation must be one of 'eager', 'sdpa'"),
    "code from a model hub by a private name": (code_by_another_name, "config must be one of"),
    "another architecture": (set_in("architecture", value=RESNET), "misses 122 tensors"),
    "other widths": (set_in("architecture", "arguments", "sizes", value=[40, 20, 10]), r"the architecture has \(20"),
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
    "a tensor that the model has not": (extra_record, "unexpected 1 tensors of this architecture"),
    "a part of a foreign dtype": (foreign_dtype, "stored as BF16, which no encoding uses"),
    "a missing tensor": (missing_record, "misses 1 tensors of this architecture, for example '1.bias'"),
    "a missing part": (missing_part, "tensor '1.weight': its part 'mask' is missing"),
    "sharing with itself": (set_in("tensors", "1.bias", value={"encoding": "shared", "with": "1.bias"}), "not stored"),
    "sharing with nobody": (set_in("tensors", "1.bias", value={"encoding": "shared", "with": 7}), "not stored"),
    "a table that is a list": (set_in("tensors", value=[]), "no table of tensors"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_refused_in_one_line(stored, lie):
    change, message = LIES[lie]
    with pytest.raises(storage.FormatError, match=message) as caught:
        storage.load(forge(stored, change))
    assert "\n" not in str(caught.value)


def test_more_entries_than_the_bytes_can_hold_are_refused_before_memory_is_taken():
    mask, values = torch.zeros(10, dtype=torch.uint8), torch.zeros(0)
    with pytest.raises(storage.FormatError, match="more than its 10 bytes can hold"):
        encodings.decode(encodings.Encoded("bitmask", "fp32", (2**20, 2**20), {"mask": mask, "values": values}))


def test_bits_behind_the_end_of_a_mask_are_refused():
    mask, values = torch.tensor([0b10000001], dtype=torch.uint8), torch.zeros(2)
    with pytest.raises(storage.FormatError, match="mask keeps 2 entries"):
        encodings.decode(encodings.Encoded("bitmask", "fp32", (5,), {"mask": mask, "values": values}))


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
