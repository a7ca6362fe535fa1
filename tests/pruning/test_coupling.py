"""Groups are right for every supported architecture, and everything else is refused by name."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from course_lib import models, pruning
from course_lib.architectures.channels import channel_tensors
from course_lib.pruning.coupling import CouplingError, IndexMap, couple

SMALL = {
    "resnet18": 32, "resnet50": 32, "mobilenet_v2": 32, "squeezenet1_1": 48, "resnext50_32x4d": 32,
}  # fmt: skip


def torchvision_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": "torchvision", "arguments": {"name": name, "num_classes": 10}})


def masked(model: nn.Module, coupling: pruning.Coupling, kept) -> nn.Module:
    """The whole model, in which no layer reads a removed channel."""
    model_with_zeros = copy.deepcopy(model)
    for name, stays in kept.items():
        gone = torch.tensor(sorted(set(range(coupling[name].channels)) - set(stays.tolist())), dtype=torch.long)
        for member in coupling[name].members:
            layer = model_with_zeros.get_submodule(member.layer)
            for _, tensor, dimension in channel_tensors(layer, "in") if member.side == "in" else ():
                tensor.data.index_fill_(dimension, member.map.positions(gone), 0)
    return model_with_zeros


@pytest.mark.parametrize(("name", "size"), SMALL.items())
def test_removing_channels_computes_what_the_masked_model_does(name, size):
    model = torchvision_model(name)
    coupling = couple(model)
    scores = pruning.channel_importance(model, coupling=coupling)
    kept = pruning.keep_best(scores, pruning.uniform_counts(coupling.prunable(), 0.7))
    small = pruning.remove_channels(model, kept, coupling)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected, found = masked(model, coupling, kept)(images), small(images)
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


def test_removing_heads_and_neurons_of_bert_computes_what_the_masked_model_does(bert):
    coupling = couple(bert)
    assert {group.unit for group in coupling.values()} == {"width", "head", "neuron"}
    kept = {
        "bert.encoder.layer.0.attention.self": torch.tensor([1]),
        "bert.encoder.layer.0.intermediate.dense": torch.arange(0, 32, 3),
    }
    tokens = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    small = pruning.remove_channels(bert, kept, coupling)
    with torch.no_grad():
        expected = models.forward(masked(bert, coupling, kept), tokens)
        torch.testing.assert_close(models.forward(small, tokens), expected)
    assert small.bert.encoder.layer[0].attention.self.num_attention_heads == 1


def test_removing_channels_before_a_flatten_computes_what_the_masked_model_does():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10), nn.ReLU(), nn.Linear(10, 2)
    )
    coupling = couple(model.eval())
    kept = {"0": torch.tensor([1, 4]), "3": torch.arange(7)}
    images = torch.randn(2, 3, 8, 8)
    small = pruning.remove_channels(model, kept, coupling)
    torch.testing.assert_close(small(images), masked(model, coupling, kept)(images))


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


def everything_is_removed_or_kept(model: nn.Module, inputs) -> pruning.Coupling:
    """Remove a third of every group that may lose channels, and compare with the masked model; the groups."""
    coupling = couple(model.eval())
    kept = {name: torch.arange(group.channels)[group.channels // 3 :] for name, group in coupling.prunable().items()}
    small = pruning.remove_channels(model, kept, coupling)
    with torch.no_grad():
        expected, found = masked(model, coupling, kept)(inputs), small(inputs)
    torch.testing.assert_close(found, expected)
    return coupling


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.two(m.two(m.one(x))), "'two' is shared"),
        (lambda m, x: m.two(m.one(x).permute(0, 1, 3, 2)), "'permute'.* may mix"),
        (lambda m, x: m.two(m.two(m.one(x) * m.one.bias.mean())), "'one.bias' is used outside"),
        (lambda m, x: m.two(m.one(x).softmax(1)), "'softmax'.* may mix"),
        (lambda m, x: m.two(m.one(x) / m.one(x).size(1)), "'size'.* may mix"),
        (lambda m, x: m.two(m.one(x).flatten(2).unflatten(2, (8, 8))), "'flatten'.* may mix"),
        (lambda m, x: m.two(m.one(x).flip(1)), "'flip'.* may mix"),
        (lambda m, x: m.two(m.one(x) * x.mean(1, keepdim=True)), "'mul'.* may mix"),
    ],
)
def test_channels_that_an_unknown_operation_reads_stay_whole(forward, reason):
    torch.manual_seed(0)
    coupling = everything_is_removed_or_kept(CustomForward(forward), torch.randn(2, 3, 8, 8))
    assert re.search(reason, coupling["one"].kept_whole)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.two(input=m.one(input=x)),
        lambda m, x: m.two(torch.relu(input=m.one(x)) + 1),
        lambda m, x: m.two(input=torch.mul(m.one(x), other=0.5)),
        lambda m, x: m.two(m.one(x)).mean((2, 3)).tanh(),
        lambda m, x: m.two(nn.functional.max_pool2d(input=m.one(x), kernel_size=2)).flatten(start_dim=1),
        lambda m, x: m.two(m.one(x) * m.one.stride[0]).view(x.size(0), -1),
    ],
)
def test_keyword_arguments_and_numbers_do_not_hide_the_channels(forward):
    torch.manual_seed(0)
    coupling = everything_is_removed_or_kept(CustomForward(forward), torch.randn(2, 3, 8, 8))
    assert list(coupling.prunable()) == ["one"] and coupling["two"].kept_whole == "the answers of the model"


class Answers(nn.Module):
    """A trunk with two heads, whose answers are nested."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.left, self.right = nn.Linear(6, 9), nn.Linear(9, 10), nn.Linear(9, 9)

    def forward(self, x):
        hidden = torch.relu(self.trunk(input=x))
        more = torch.add(hidden, other=self.right(hidden))
        return {"cls": self.left(hidden), "others": [(more,), {"sum": more + 1}]}


def test_the_answers_stay_whole_however_they_are_nested():
    model = Answers().eval()
    coupling = couple(model)
    assert all(group.kept_whole == "the answers of the model" for group in coupling.values())
    with pytest.raises(ValueError, match="no group that may lose channels"):
        pruning.prune_channels(model, 0.5)


class TwoSums(nn.Module):
    """The same channels by a keyword, in a dict within a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 9), nn.Linear(6, 9), nn.Linear(9, 4)

    def forward(self, x):
        return self.head(torch.add(self.one(x), other=self.two(x), alpha=2))


def test_what_is_added_by_keyword_is_one_group():
    torch.manual_seed(0)
    coupling = everything_is_removed_or_kept(TwoSums(), torch.randn(2, 6))
    assert [member.layer for member in coupling["one"].members] == ["one", "two", "head"]


class TwoHeads(nn.Module):
    """Ten classes in a dict, from a hidden layer that may shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 8), nn.Linear(8, 10)

    def forward(self, x):
        return {"cls": self.head(self.hidden(x).relu())}


def test_a_net_that_returns_a_dict_keeps_its_ten_classes():
    small = pruning.StructuredPruner(TwoHeads().eval(), 0.5).structured_pruning().model
    assert small.hidden.out_features == 4 and small(torch.randn(2, 6))["cls"].shape == (2, 10)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: m.one(x), "'two' of kind Conv2d is not used.*Torch-Pruning"),
        (lambda m, x: m.two(m.one(x)) if x.sum() > 0 else x, "cannot be traced.*Torch-Pruning"),
    ],
)
def test_a_model_that_cannot_be_traced_is_refused_by_name(forward, message):
    with pytest.raises(CouplingError, match=f"(?s){message}"):
        couple(CustomForward(forward))


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (lambda: [nn.Conv1d(3, 9, 3), nn.ReLU(), nn.BatchNorm1d(9), nn.MaxPool1d(2), nn.Conv1d(9, 4, 3)], (3, 20)),
        (lambda: [nn.Conv3d(3, 9, 3), nn.AvgPool3d(2), nn.Conv3d(9, 4, 1)], (3, 8, 8, 8)),
        (lambda: [nn.Conv2d(3, 9, 3), nn.ReLU(), nn.ConvTranspose2d(9, 6, 3, 2), nn.Conv2d(6, 4, 1)], (3, 9, 9)),
        (lambda: [nn.ConvTranspose1d(3, 9, 3), nn.GELU(), nn.ConvTranspose1d(9, 4, 3)], (3, 9)),
    ],
)
def test_convolutions_of_every_kind_lose_channels(make, sizes):
    torch.manual_seed(0)
    model = nn.Sequential(*make())
    coupling = everything_is_removed_or_kept(model, torch.randn(2, *sizes))
    assert len(coupling.prunable()) == len(coupling) - 1


def flattened_pair(first: int, second: int) -> nn.Module:
    """Two branches with different numbers of pixels are flattened and concatenated."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3)
            self.fc = nn.Linear(6 * (first**2 + second**2), 4)

        def forward(self, x):
            parts = [
                nn.functional.adaptive_avg_pool2d(self.one(x), first),
                nn.functional.adaptive_avg_pool2d(self.two(x), second),
            ]
            return self.fc(torch.cat([part.flatten(1) for part in parts], dim=1))

    return Pair()


@pytest.mark.parametrize(("first", "second"), [(4, 2), (2, 2), (1, 1)])
def test_flattened_branches_with_different_numbers_of_pixels_are_not_mistaken(first, second):
    everything_is_removed_or_kept(flattened_pair(first, second), torch.randn(2, 3, 8, 8))


def test_a_layer_whose_weight_is_recomputed_stays_whole_and_the_remedy_is_named():
    normed = torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 9))
    model = nn.Sequential(normed, nn.Linear(9, 8), nn.Linear(8, 4)).eval()
    assert "remove_parametrizations" in couple(model)["0"].kept_whole
    assert list(couple(model).prunable()) == ["1"]
    with pytest.raises(ValueError, match=r"layer '0' recomputes its weight.*remove_parametrizations"):
        pruning.prune_channels(model, 0.5)


def test_a_compiled_model_is_refused_with_the_remedy():
    with pytest.raises(CouplingError, match=r"prune model\._orig_mod"):
        couple(torch.compile(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))))


def test_tied_weights_stay_whole():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 6), nn.Linear(6, 2))
    model[2].weight = model[0].weight
    coupling = everything_is_removed_or_kept(model, torch.randn(2, 4))
    assert "2.weight is shared with 0.weight" in coupling["0"].kept_whole
    assert list(coupling.prunable()) == ["3"]


def test_a_norm_over_positions_is_told_by_an_example():
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)).eval()
    assert not couple(model)["0"].kept_whole
    assert not couple(model, torch.randn(4, 6))["0"].kept_whole
    whole = couple(model, torch.randn(4, 6, 6))
    assert "the layer '1' of kind BatchNorm1d may mix them" in whole["0"].kept_whole
    with pytest.raises(ValueError, match="no group that may lose channels"):
        pruning.prune_channels(model, 0.5, coupling=whole)


def test_heads_of_torchs_own_attention_are_refused_with_the_remedy():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), layer, nn.Linear(16, 2)).eval()
    with pytest.raises(ValueError, match="no group of unit 'head' that may lose channels"):
        pruning.prune_channels(model, 0.5, unit="head")

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.attention = nn.Linear(8, 16), nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x):
            x = self.before(x)
            return self.attention(x, x, x)[0]

    with pytest.raises(ValueError, match=r"'attention' of kind MultiheadAttention.*attention classes of transformers"):
        pruning.prune_channels(Attention().eval(), 0.5, unit="head")
