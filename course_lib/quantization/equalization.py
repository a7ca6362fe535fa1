"""Cross-layer weight equalization: consecutive layers share their weight ranges evenly, without data or training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from course_lib import storage
from course_lib.architectures.tracing import changes_values, forward_graphs, used_once
from course_lib.architectures.weighted_layers import copy_model


@torch.no_grad()
def equalize(model: nn.Module, iterations: int = 20) -> nn.Module:
    """A copy in which consecutive layers have equal weight ranges in every channel; it computes the same function.

    Between two layers with only a ReLU in between, channel i can be divided by s_i > 0 after the first and multiplied
    by s_i before the second, because relu(s x) = s relu(x). s_i = sqrt(r1_i r2_i) / r2_i, with r the largest magnitude
    of the channel's weights, makes both ranges equal. It helps where one scale is used for a whole tensor.

    Args:
        model: BatchNorm must be folded first (``fold_batchnorm``).

    Raises:
        ValueError: if the model cannot be traced.

    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019 (section 4.1).
    """
    equalized = copy_model(model).eval()
    layers = dict(equalized.named_modules())
    pairs = [(layers[first], layers[second]) for first, second in equalizable_pairs(equalized)]
    for _ in range(iterations):
        for first, second in pairs:
            _equalize_pair(first, second)
    if storage.encodings_of(equalized):
        storage.set_encodings(equalized, {})
    return equalized


def equalizable_pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of consecutive convolutions (or linear layers) with nothing but a ReLU between them, each called once."""
    first, *others = [list(_pairs_of(model, graph)) for graph in forward_graphs(model)]
    return [pair for pair in first if all(pair in other for other in others)]


def _pairs_of(model: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str]]:
    layers, once = dict(model.named_modules()), used_once(model, graph)

    def module(node: fx.Node) -> nn.Module | None:
        return layers.get(str(node.target)) if node.op == "call_module" else None

    for node in graph.nodes:
        if type(module(node)) not in (nn.Conv2d, nn.Linear) or changes_values(layers[node.target], ["_forward_hooks"]):
            continue
        following, relus = node, 0
        while len(following.users) == 1:
            following = next(iter(following.users))
            between = module(following)
            if not isinstance(between, nn.ReLU | nn.Identity) or changes_values(between):
                break
            relus += isinstance(between, nn.ReLU)
        if relus and _reads_alike(layers[node.target], module(following)):
            names = str(node.target), str(following.target)
            yield from [names] if set(names) <= once else []


def _reads_alike(first: Any, second: Any) -> bool:
    """Whether ``second`` is a layer of the same kind that reads every channel of ``first`` with all of its filters."""
    plain = type(second) is type(first) and not changes_values(second, ["_forward_pre_hooks"])
    return plain and getattr(second, "groups", 1) == 1


def _equalize_pair(first: Any, second: Any) -> None:
    """Divide the output channels of ``first`` by s, and multiply the input channels of ``second`` by it, in place."""
    r1, r2 = first.weight.flatten(1).abs().amax(1), second.weight.transpose(0, 1).flatten(1).abs().amax(1)
    s = torch.where((r1 > 0) & (r2 > 0), (r1 * r2).sqrt() / r2.clamp(min=1e-30), torch.ones_like(r1))
    spatial = [1] * (first.weight.dim() - 2)
    first.weight.div_(s.view(-1, 1, *spatial))
    if first.bias is not None:
        first.bias.div_(s)
    second.weight.mul_(s.view(1, -1, *spatial))
