"""Optional arguments, hooks, replaced forwards and second names are seen before a model is changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import pruning, quantization
from course_lib.architectures.batchnorm_folding import batchnorm_pairs, fold_batchnorm
from course_lib.architectures.tracing import forward_graphs, replace_module, used_once
from course_lib.architectures.weighted_layers import copy_model


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


class OptionalBranch(nn.Module):
    """What happens to the output of the first convolution depends on an argument that is usually left out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.first, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.norm = nn.BatchNorm2d(8) if kind == "read twice" else nn.Identity()
        self.second, self.head = nn.Conv2d(8, 6, 3), nn.Linear(6, 2)
        with_statistics(self)

    def forward(self, x, extra=None, *, scale: float = 1.0):
        y = self.first(x)
        if (self.kind, extra is None) in (("rolled", True), ("given", False)):
            y = y.roll(1, 1)
        z = self.relu(self.norm(y))
        if self.kind == "read twice" and extra is None:
            z = z + y
        if self.kind == "shifted" and extra is None:
            z = z + 0.5
        return self.head(self.second(z if scale == 1.0 else z * scale).mean(dim=(2, 3)))


def with_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["read twice", "rolled", "given", "shifted"])
@pytest.mark.parametrize("arguments", [(), (1,)])
@pytest.mark.parametrize("change", [fold_batchnorm, quantization.equalize])
def test_a_branch_on_an_optional_argument_keeps_the_function(kind, arguments, change):
    model = OptionalBranch(kind).eval()
    expected = model(images(), *arguments)
    found = change(model)(images(), *arguments)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_channels_whose_reader_depends_on_an_optional_argument_stay():
    rolled, branched = (pruning.couple(OptionalBranch(kind).eval()) for kind in ("rolled", "given"))
    assert "'roll'" in rolled["first"].kept_whole
    assert "depends on an optional argument" in branched["first"].kept_whole
    assert not pruning.couple(OptionalBranch("shifted").eval())["first"].kept_whole


def test_a_flag_of_the_forward_pass_is_traced_at_its_default():
    class Flag(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)

        def forward(self, x, features: bool = False):
            y = self.norm(self.conv(x)).relu()
            return y if features else self.head(y)

    model = Flag().eval()
    assert batchnorm_pairs(model) == [["conv", "norm"]] and len(forward_graphs(model)) == 1
    assert len(forward_graphs(OptionalBranch("shifted"))) == 2
    assert pruning.prune_channels(model, 0.5).model.conv.out_channels == 4


def hooked(place: str) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.Flatten(1))
    model.append(nn.Linear(24, 2))
    layer = model[{"convolution": 0, "relu": 2, "next": 3}[place]]
    if place == "next":
        layer.register_forward_pre_hook(lambda module, args: (args[0].flip(1) + 0.5,))
    else:
        layer.register_forward_hook(lambda module, args, output: output.flip(1) + 0.5)
    return with_statistics(model)


@torch.no_grad()
@pytest.mark.parametrize("place", ["convolution", "relu", "next"])
def test_hooks_keep_their_effect(place):
    model = hooked(place)
    expected = model(images())
    for changed in (fold_batchnorm(model), quantization.equalize(fold_batchnorm(model))):
        torch.testing.assert_close(changed(images()), expected, rtol=1e-4, atol=1e-4)
    assert pruning.couple(model)["0"].kept_whole


def test_a_replaced_forward_is_refused_or_left_alone():
    model = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    model[0].forward = lambda x: nn.functional.conv2d(x, torch.ones(4, 3, 3, 3))
    assert batchnorm_pairs(model) == []
    with pytest.raises(ValueError, match="forward function of its own"):
        pruning.prune_channels(model, 0.5)
    whole = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    whole.forward = lambda x: x
    for use in (fold_batchnorm, pruning.couple):
        with pytest.raises(ValueError, match="forward of this Sequential was replaced by a function"):
            use(whole)


def test_a_function_that_holds_a_part_of_the_model_is_refused():
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()

    by_forward, by_hook, by_default, harmless = (network() for _ in range(4))
    old = by_forward[0].forward
    by_forward[0].forward = lambda x: old(x) * 2
    by_hook[1].register_forward_hook(lambda module, args, output: by_hook[0](output))
    by_default[1].register_forward_hook(lambda module, args, output, layer=by_default[0]: layer(output))
    harmless[1].register_forward_hook(lambda module, args, output: output + 1)
    for model, layer in ((by_forward, "0"), (by_hook, "1"), (by_default, "1")):
        with pytest.raises(ValueError, match=f"layer '{layer}' has a hook or a forward function that holds a part"):
            pruning.prune_layerwise(model, 0.5)
    assert copy_model(harmless)[0] is not harmless[0]


@pytest.mark.parametrize(
    "use",
    [
        copy_model,
        fold_batchnorm,
        quantization.equalize,
        quantization.rtn,
        quantization.quantize_weights,
        lambda model: pruning.prune_layerwise(model, 0.5),
    ],
)
def test_a_lazy_layer_without_weights_is_refused(use):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2)).eval()
    with pytest.raises(ValueError, match="layer '3' of kind LazyLinear has no weights yet; run the model once"):
        use(model)


class TwoNames(nn.Module):
    """A convolution and a norm that are called by their second names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)
        self.again = nn.ModuleList([self.conv, self.norm])

    def forward(self, x):
        for layer in self.again:
            x = layer(x)
        return self.head(x.relu()).mean(dim=(2, 3))


@torch.no_grad()
def test_a_module_with_two_names_is_replaced_under_both():
    model = with_statistics(TwoNames())
    expected = model(images())
    folded = fold_batchnorm(model)
    assert isinstance(folded.again[1], nn.Identity) and folded.norm is folded.again[1]
    torch.testing.assert_close(folded(images()), expected, rtol=1e-4, atol=1e-4)
    pruned = pruning.prune_channels(model, 0.5).model
    assert pruned(images()).shape == expected.shape
    assert pruned.conv is pruned.again[0] and pruned.conv.out_channels == pruned.norm.num_features == 4
    replace_module(model, "again.0", nn.Identity())
    assert isinstance(model.conv, nn.Identity)


def test_a_layer_whose_weight_is_read_elsewhere_is_not_used_once():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.two(self.one(x)) + nn.functional.linear(x, self.one.weight)

    model = Reads()
    (graph,) = forward_graphs(model)
    assert used_once(model, graph) == {"two"}
