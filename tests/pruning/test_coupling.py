"""Groups are right for every supported architecture, and everything else is refused by name."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib import models, pruning
from course_lib.pruning.coupling import CouplingError, IndexMap, couple

SMALL = {
    "resnet18": 32, "resnet50": 32, "mobilenet_v2": 32, "squeezenet1_1": 48, "resnext50_32x4d": 32,
}  # fmt: skip


def torchvision_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "torchvision", "arguments": {"name": name, "num_classes": 10}})


def zeroed(model: nn.Module, coupling: pruning.Coupling, kept) -> nn.Module:
    """The whole model with the parameters of the removed channels set to zero."""
    model_with_zeros = copy.deepcopy(model)
    for name, stays in kept.items():
        gone = torch.tensor(sorted(set(range(coupling[name].channels)) - set(stays.tolist())), dtype=torch.long)
        for member in coupling[name].members:
            layer = model_with_zeros.get_submodule(member.layer)
            for tensor in [*layer.parameters(), *layer.buffers()] if member.side == "out" else ():
                if tensor.dim():
                    tensor.data[member.map.positions(gone)] = 0
    return model_with_zeros


@pytest.mark.parametrize(("name", "size"), SMALL.items())
def test_removing_channels_computes_what_zeroing_them_does(name, size):
    model = torchvision_model(name)
    coupling = couple(model)
    scores = pruning.channel_importance(model, coupling=coupling)
    kept = pruning.keep_best(scores, pruning.uniform_counts(coupling.prunable(), 0.7))
    small = pruning.remove_channels(model, kept, coupling)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected, found = zeroed(model, coupling, kept)(images), small(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert sum(p.numel() for p in small.parameters()) < 0.9 * sum(p.numel() for p in model.parameters())


SUPPORTED = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)] + ["wide_resnet50_2", "mobilenet_v2"]
SUPPORTED += [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_supported_architecture_may_lose_channels_in_all_groups_but_the_answers(name):
    with torch.device("meta"):
        coupling = couple(models.torchvision_classifier(name))
    whole = {group.kept_whole for group in coupling.values() if group.kept_whole}
    assert whole == {"the answers of the model"}
    assert len(coupling.prunable()) == len(coupling) - 1


def test_removing_heads_and_neurons_of_bert_computes_what_zeroing_them_does(bert):
    coupling = couple(bert)
    assert {group.unit for group in coupling.values()} == {"width", "head", "neuron"}
    kept = {
        "bert.encoder.layer.0.attention.self": torch.tensor([1]),
        "bert.encoder.layer.0.intermediate.dense": torch.arange(0, 32, 3),
    }
    tokens = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    small = pruning.remove_channels(bert, kept, coupling)
    with torch.no_grad():
        expected = models.forward(zeroed(bert, coupling, kept), tokens)
        torch.testing.assert_close(models.forward(small, tokens), expected)
    assert small.bert.encoder.layer[0].attention.self.num_attention_heads == 1


def test_removing_channels_before_a_flatten_computes_what_zeroing_them_does():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10), nn.ReLU(), nn.Linear(10, 2)
    )
    coupling = couple(model.eval())
    kept = {"0": torch.tensor([1, 4]), "3": torch.arange(7)}
    images = torch.randn(2, 3, 8, 8)
    small = pruning.remove_channels(model, kept, coupling)
    torch.testing.assert_close(small(images), zeroed(model, coupling, kept)(images))


def test_a_residual_stream_is_one_group_of_all_layers_that_add_to_it():
    coupling = couple(torchvision_model("resnet18"))
    stem = {member.layer for member in coupling["conv1"].members if member.side == "out"}
    assert stem == {"conv1", "bn1", "layer1.0.conv2", "layer1.0.bn2", "layer1.1.conv2", "layer1.1.bn2"}
    assert [member.layer for member in coupling["layer1.0.conv1"].members] == [
        "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2",
    ]  # fmt: skip
    assert coupling["fc"].kept_whole == "the answers of the model"


def test_a_flatten_spreads_each_channel_over_its_pixels():
    with torch.device("meta"):
        last = couple(models.torchvision_classifier("vgg11_bn"))["features.25"]
    assert next(member.map for member in last.members if member.layer == "classifier.0") == IndexMap(0, 49)
    assert IndexMap(2, 3).positions(torch.tensor([0, 2])).tolist() == [2, 3, 4, 8, 9, 10]


def test_a_concatenation_shifts_the_channels_of_its_later_parts():
    coupling = couple(torchvision_model("squeezenet1_1"))
    maps = {
        name: member.map
        for name in coupling
        for member in coupling[name].members
        if (member.layer, member.side) == ("features.4.squeeze", "in")
    }
    assert maps == {"features.3.expand1x1": IndexMap(0), "features.3.expand3x3": IndexMap(64)}


def test_depthwise_filters_go_with_the_channels_that_they_see():
    coupling = couple(torchvision_model("mobilenet_v2"))
    assert {"features.1.conv.0.0", "features.0.0"} <= {member.layer for member in coupling["features.0.0"].members}


def test_channels_around_a_grouped_convolution_stay_whole():
    coupling = couple(torchvision_model("resnext50_32x4d"))
    assert "32 groups of equal size" in coupling["layer1.0.conv1"].kept_whole
    with pytest.raises(ValueError, match=r"has to stay whole: .*groups of equal size"):
        pruning.remove_channels(torchvision_model("resnext50_32x4d"), {"layer1.0.conv1": torch.arange(100)})


def test_the_table_has_a_row_for_each_member_and_the_text_names_all(bert):
    coupling = couple(bert)
    assert len(coupling.table) == sum(len(group.members) for group in coupling.values())
    assert "bert.embeddings: 16 × width" in str(coupling)
    with pytest.raises(ValueError, match="group must be one of"):
        coupling["layer9"]
    with pytest.raises(ValueError, match="unit must be one of"):
        coupling.prunable("layer")


class CustomForward(nn.Module):
    """A small network whose forward is given."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.custom = forward

    def forward(self, x):
        return self.custom(self, x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: m.two(m.two(m.one(x))), "'two' is shared"),
        (lambda m, x: m.two(m.one(x)).permute(0, 2, 3, 1), "'permute'.*not understood"),
        (lambda m, x: m.two(m.one(x)) * m.one.bias, "'one.bias' is used outside"),
        (lambda m, x: m.two(m.one(x)).softmax(1), "'softmax'.*not understood"),
        (lambda m, x: m.one(x), "'.*' of kind .* is not used"),
        (lambda m, x: m.two(m.one(x)) if x.sum() > 0 else x, "cannot be traced"),
        (lambda m, x: m.two(m.one(x)) + 1, "not understood"),
        (lambda m, x: m.two(m.one(x)).flatten(2), "'flatten'.*not understood"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(forward, message):
    with pytest.raises(CouplingError, match=f"(?s){message}.*Torch-Pruning"):
        couple(CustomForward(forward))


@pytest.mark.parametrize("name", ["vit_b_16", "shufflenet_v2_x0_5", "efficientnet_b0", "mobilenet_v3_small"])
def test_other_architectures_are_refused_with_a_pointer(name):
    with torch.device("meta"):
        model = models.torchvision_classifier(name)
    with pytest.raises(CouplingError, match="Torch-Pruning"):
        couple(model)


def test_tied_weights_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    with pytest.raises(CouplingError, match=r"2.weight is shared with 0.weight"):
        couple(model)
