"""A saved model comes back bit for bit; one that cannot be stored is refused."""

import os

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from course_lib import models, storage
from tests.storage.models_and_forgeries import BERT, MLP, RESNET, sparse_mlp

TOKENS = {"input_ids": torch.arange(16).reshape(2, 8), "attention_mask": torch.ones(2, 8, dtype=torch.long)}


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
