"""What the checks of exercise 11 expect of pairs of layers, ranks, costs and weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_11 import reference
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_tensor


def expect_pair(pair: Any, layer: nn.Linear, rank: int) -> None:
    """Two linear layers whose product is the best approximation of this rank."""
    given = f"a layer from {layer.in_features} to {layer.out_features} and rank {rank}"
    expect(isinstance(pair, nn.Module), f"return a module, yours is {type(pair).__name__}", given=given)
    linear = [one for one in pair.modules() if isinstance(one, nn.Linear)]
    expect(len(linear) == 2, f"return two linear layers, yours has {len(linear)}", given=given)
    shapes = [tuple(one.weight.shape) for one in linear]
    wanted = [(rank, layer.in_features), (layer.out_features, rank)]
    advice = "a weight of nn.Linear is (out, in), and the layer to `rank` comes first"
    expect_equal("shapes of the weights", shapes, wanted, given=given, hint=advice)
    biases = [one.bias is not None for one in linear]
    advice = "the original bias belongs to the last layer, and only where there was one"
    expect_equal("layers with a bias", biases, [False, layer.bias is not None], given=given, hint=advice)
    product = (linear[1].weight.double() @ linear[0].weight.double()).detach()
    advice = "keep the largest singular values, use each of them once, and note that V is already transposed"
    best = best_of_rank(layer.weight, rank)
    expect_close("product of the weights", product, best, rtol=1e-3, atol=1e-4, given=given, hint=advice)
    example = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(1))
    expected = example @ product.float().T + (0 if layer.bias is None else layer.bias.detach())
    advice = "put nothing between the two layers, and copy the values of the bias"
    expect_close("output", pair(example).detach(), expected, rtol=1e-3, atol=1e-3, given=given, hint=advice)


def expect_apart(answer: Answer, layer: nn.Linear) -> None:
    """New parameters of their own: training them leaves the original layer as it is."""
    pair = answer.in_place(layer, 1)
    advice = "use a copy of its values: layer.bias.detach().clone()"
    expect(not shares_memory(pair, layer), "a parameter of the original layer is used again", hint=advice)
    expect(all(one.requires_grad for one in pair.parameters()), "a parameter of the pair cannot be trained")


def shares_memory(pair: nn.Module, layer: nn.Module) -> bool:
    """Whether a parameter of ``pair`` lies in the memory of one of ``layer``."""
    places = {one.data_ptr() for one in layer.parameters()}
    return any(one.data_ptr() in places for one in pair.parameters())


def is_clear(values: Tensor, share: float) -> bool:
    """Whether a share is so far from the energy of every rank that rounding does not matter."""
    return bool(((energy(values) - share).abs() > 1e-4).all())


def energy_hint(got: Any, values: Tensor, share: float) -> str:
    """What a wrong rank usually means."""
    plain = values.double().cumsum(0) / values.double().sum().clamp_min(1e-30)
    if got == int((plain < share).sum()) + 1:
        return "energy is the sum of the squares of the singular values"
    return "the smallest rank whose first singular values keep at least the share of the squared sum; at least 1"


def expect_cost(cost: Any, arguments: tuple[int, ...]) -> None:
    """Shapes, parameters and MACs of the three convolutions."""
    names = ("out_channels", "in_channels", "kernel", "rank_in", "rank_out", "height", "width", "stride")
    given = ", ".join(f"{name} {value}" for name, value in zip(names, arguments, strict=True))
    expect(isinstance(cost, dict), f"return a dictionary, yours is {type(cost).__name__}", given=given)
    expected = reference.tucker_cost(*arguments)
    expect_equal("keys", sorted(cost), sorted(expected), given=given)
    advice = "(out, in, k, k): first in → rank_in, then rank_in → rank_out with the kernel, then rank_out → out"
    expect_equal("shapes", cost["shapes"], expected["shapes"], given=given, hint=advice)
    expect_equal("parameters", cost["parameters"], expected["parameters"], given=given, hint="all three, without bias")
    advice = "the first convolution runs before the stride, the other two after it; sizes are rounded up"
    expect_equal("macs", cost["macs"], expected["macs"], given=given, hint=advice)


def expect_data_aware(got: Any, weight: Tensor, inputs: Tensor, rank: int) -> None:
    """A weight of this rank with the closest outputs on the inputs."""
    given = f"a weight of shape {tuple(weight.shape)}, {len(inputs)} inputs and rank {rank}"
    expect_tensor("the result", got, shape=weight.shape, given=given, hint="the product has the weight's shape")
    spectrum = torch.linalg.svdvals(got.detach().double())
    expect(bool((spectrum[rank:] < 1e-3 * spectrum[0]).all()), f"the result has a higher rank than {rank}", given=given)
    expected = (inputs.double() @ reference.data_aware_weight(weight, inputs, rank).double().T).float()
    advice = "the outputs on these inputs can be closer; do you truncate W·S, not W?"
    if torch.allclose(got.detach().double(), best_of_rank(weight, rank), atol=1e-3):
        advice = "this is the plain SVD of the weight: best for uncorrelated inputs of equal variance, not for these"
    outputs = (inputs.double() @ got.detach().double().T).float()
    expect_close("outputs on the inputs", outputs, expected, rtol=1e-2, atol=2e-2, given=given, hint=advice)


def best_of_rank(weight: Tensor, rank: int) -> Tensor:
    """The best approximation ``(out, in)`` of a weight with this rank (Eckart and Young, 1936), float64."""
    left, values, right = torch.linalg.svd(weight.detach().double(), full_matrices=False)
    return left[:, :rank] * values[:rank] @ right[:rank]


def singular_values(weight: Tensor) -> Tensor:
    """Singular values of a weight as a matrix, from large to small, float64.

    Not imported from ``course_lib.lowrank``: a probe needs it, and the sandbox must not contain that package.
    """
    return torch.linalg.svdvals(weight.detach().double().flatten(1))


def energy(values: Tensor) -> Tensor:
    """Fraction of the squared sum in the first 1, 2, … singular values, float64; 1 for a matrix of zeros."""
    squares = values.double().square()
    return squares.cumsum(0) / squares.sum() if squares.any() else torch.ones_like(squares)
