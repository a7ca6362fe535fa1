"""What ``save`` writes can be loaded and computes the same; a model that its description does not fit is refused."""

import pytest
import torch
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.vision_transformer import VisionTransformer

from course_lib import models, storage
from course_lib.lowrank import factorize, plan_for_size
from course_lib.lowrank.factorization import factorable
from course_lib.storage.description_check import compare_logits, compare_modules, probes
from tests.toys import one_layer_bert
from tests.unusual_models import tiny_causal_lm


def torchvision_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "torchvision", "arguments": {"name": name, "num_classes": 10}})


def half_the_ranks(model: nn.Module) -> nn.Module:
    names = [name for name in factorable(model, "svd") if not name.endswith(("lm_head", "out_proj"))]
    return factorize(model, plan_for_size(model, 0.5, layers=names, multiple=1)).model


def other_head(model):
    model.fc = nn.Linear(512, 5)


def leaky(model):
    model.relu = nn.LeakyReLU(0.3)


def other_slope(model):
    model.layer1[0].bn1.eps = 0.1


def other_stride(model):
    model.layer2[0].conv1.stride = (1, 1)
    model.layer2[0].downsample[0].stride = (1, 1)


def replaced_forward(model):
    model.avgpool.forward = lambda x: x.amax(dim=(2, 3), keepdim=True)


def hook(model):
    model.layer4.register_forward_hook(lambda module, inputs, output: 2 * output)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_head, r"'fc\.weight' is stored as \(5, 512\), but the architecture has \(10, 512\)"),
        (leaky, r"LeakyReLU\(negative_slope=0\.3\) at 'relu', but its description has ReLU"),
        (other_slope, r"eps=0\.1.* at 'layer1\.0\.bn1'"),
        (other_stride, r"Conv2d.*at 'layer2\.0\.conv1'"),
        (replaced_forward, "forward='a function of its own' at 'avgpool'"),
        (hook, r"computes something else .*logits differ by"),
    ],
)
def test_a_model_that_was_changed_after_it_was_built_is_refused(tmp_path, change, message):
    model = models.build({"builder": "resnet18", "arguments": {}})
    storage.save(model, tmp_path / "before.safetensors")
    change(model)
    with pytest.raises(ValueError, match=message) as refusal:
        storage.save(model, tmp_path / "after.safetensors")
    assert "models.builder" in str(refusal.value) and not (tmp_path / "after.safetensors").exists()


def test_a_compiled_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"save model\._orig_mod"):
        storage.save(
            torch.compile(models.build({"builder": "mlp", "arguments": {}})), tmp_path / "compiled.safetensors"
        )


def test_changes_without_effect_are_allowed(tmp_path):
    model = one_layer_bert()
    model.bert.embeddings.dropout.p = 0.5
    model.train()
    storage.save(model, tmp_path / "dropout.safetensors")
    assert model.training and model.bert.embeddings.dropout.training


def test_a_models_own_modes_come_back(tmp_path):
    model = models.build({"builder": "resnet18", "arguments": {}}).train()
    model.bn1.eval()
    storage.save(model, tmp_path / "modes.safetensors")
    assert model.training and model.layer1[0].bn1.training and not model.bn1.training


def test_a_model_of_another_function_is_told_apart_by_its_logits():
    first, second = one_layer_bert(), one_layer_bert()
    compare_logits(first, second)
    second.bert.embeddings.LayerNorm.eps = 10.0
    with pytest.raises(ValueError, match="logits differ"):
        compare_logits(first, second)
    with pytest.raises(ValueError, match=r"LayerNorm.*at 'bert\.embeddings\.LayerNorm'.*eps=10"):
        compare_modules(first, second)


def test_a_model_that_no_probe_fits_is_compared_by_its_modules_alone():
    class Pair(nn.Linear):
        def forward(self, first, second):
            return super().forward(first) + second

    assert list(probes(Pair(3, 2)))
    compare_logits(Pair(3, 2), Pair(3, 2))


@pytest.mark.parametrize("name", ["regnet_y_400mf", "mnasnet0_5"])
def test_models_that_read_values_or_versions_while_they_are_built_come_back(tmp_path, name):
    model, images = torchvision_model(name), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        loaded = storage.load(storage.save(model, tmp_path / "model.safetensors"))
        assert torch.equal(models.forward(loaded, images), models.forward(model, images))


def small_vit() -> nn.Module:
    return VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10)


def small_convnext() -> nn.Module:
    return ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=10)


@pytest.mark.parametrize("make", [small_vit, small_convnext])
def test_factorized_torchvision_models_with_parameters_of_their_own_come_back(monkeypatch, tmp_path, make):
    monkeypatch.setitem(models.BUILDERS, "small", make)
    torch.manual_seed(0)
    factorized = half_the_ranks(models.build({"builder": "small", "arguments": {}}))
    images = torch.randn(2, 3, 32, 32)
    path = storage.save(factorized, tmp_path / "model.safetensors", dtype="fp16", encoding="dense")
    loaded = storage.load(path)
    assert [type(module) for module in loaded.modules()] == [type(module) for module in factorized.modules()]
    with torch.no_grad():
        expected = models.forward(factorized.half().float(), images)
        assert torch.equal(models.forward(loaded, images), expected)


@pytest.mark.parametrize("kind", ["llama", "opt", "tiny_llama"])
def test_factorized_language_models_come_back(tmp_path, kind):
    model = models.load(kind) if kind == "tiny_llama" else tiny_causal_lm(kind)
    factorized, tokens = half_the_ranks(model), {"input_ids": torch.arange(12).view(2, 6)}
    loaded = storage.load(storage.save(factorized, tmp_path / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(models.forward(loaded, tokens), models.forward(factorized, tokens))


@pytest.mark.parametrize("kind", ["half", "bfloat16", "half and back"])
def test_a_model_in_half_precision_is_still_the_model_of_its_description(tmp_path, kind):
    model = tiny_causal_lm("llama")
    model = {"half": model.half, "bfloat16": model.bfloat16, "half and back": model.half}[kind]()
    model = model.float() if kind == "half and back" else model
    loaded = storage.load(storage.save(model, tmp_path / "model.safetensors"))
    tokens = {"input_ids": torch.arange(12).view(2, 6)}
    with torch.no_grad():
        expected = models.forward(model, tokens).float()
        assert torch.allclose(models.forward(loaded, tokens), expected, atol=0.02 * expected.abs().max().item())
