"""Checks and probes of exercise 11, low-rank factorization: break-even, SVD, energy, Tucker-2, whitening, LoRA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.reference_11 import (
    best_of_rank,
    break_even_rank,
    energy,
    lora_weight,
    rank_for_energy,
    singular_values,
    tucker_cost,
    whitened,
)
from course_lib.learning.expect import expect, expect_close, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question


@question(
    "11.1",
    points=2,
    minutes=8,
    difficulty=1,
    title="The break-even rank",
    hints=(
        "Count the numbers in both factors of a matrix, as a function of the rank. Then compare with the matrix.",
        "Equal is not smaller. Try it with a 4 × 4 matrix, where both sides meet at a whole number.",
        "Whole-number division can do it without a loop, if you think about which number below the meeting point "
        "you want.",
    ),
)
def check_break_even_rank(answer: Answer) -> None:
    """Squares, long and flat matrices, sizes at which both sides meet exactly, and matrices that cannot win."""
    sizes = [(512, 4608), (4, 4), (384, 384), (6, 3), (1, 1), (1, 9), (2, 2), (1000, 10), (7, 11), (12, 4)]
    for rows, columns in sizes:
        expected = break_even_rank(rows, columns)
        got = answer(rows, columns)
        advice = "the factors hold r·(rows + columns) numbers; the largest r with fewer than rows·columns is asked for"
        if got == expected + 1:
            advice = "with this rank the factors hold at least as many numbers as the matrix: equal is not smaller"
        expect_equal("break-even rank", got, expected, hint=advice)


@probe("11.1")
def probe_break_even_rank(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Ranks of random sizes, and of some at which both sides meet."""
    sizes = torch.randint(1, 700, (12, 2), generator=generator).tolist()
    even = (2 * torch.randint(1, 300, (4,), generator=generator)).tolist()
    return [answer(rows, columns) for rows, columns in [*sizes, *((size, size) for size in even), (6, 3), (1, 5)]]


@question(
    "11.2",
    points=4,
    minutes=15,
    difficulty=2,
    title="A linear layer as two",
    hints=(
        "Two linear layers without anything between them are a product of two matrices. Which of the two comes "
        "first when a vector goes through?",
        "`torch.linalg.svd(weight, full_matrices=False)` gives U, the singular values, and V already transposed. "
        "Keep the first `rank` of each.",
        "A weight of nn.Linear has the shape (out, in). The bias is added once, at the very end. Copy values in with "
        "`layer.weight.data = …`.",
    ),
)
def check_svd_layer(answer: Answer) -> None:
    """Shapes, bias or none, the product against the best of its rank, and an original that must not change."""
    for index, (inside, outside, bias) in enumerate([(8, 6, True), (5, 9, True), (7, 7, False)]):
        layer = _linear(inside, outside, bias, index)
        for rank in (1, 3, min(inside, outside)):
            _expect_pair(answer(layer, rank), layer, rank)
    expect_unchanged(answer, _linear(6, 5, True, 9), 2)


@probe("11.2")
def probe_svd_layer(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Shapes, and outputs of random layers for random inputs."""
    values: list[Any] = []
    for inside, outside, bias, rank in [(9, 6, True, 2), (5, 8, True, 4), (6, 6, False, 3)]:
        layer = _linear(inside, outside, bias, int(torch.randint(0, 2**31, (), generator=generator)))
        pair = answer(layer, rank)
        layers = [one for one in pair.modules() if isinstance(one, nn.Linear)]
        values += [[list(one.weight.shape), one.bias is not None] for one in layers]
        values.append(pair(torch.randn(4, inside, generator=generator)).detach().float())
    return values


@question(
    "11.3",
    points=3,
    minutes=10,
    difficulty=2,
    title="The rank that keeps the energy",
    hints=(
        "Energy is counted in squares. How much of the whole do the first, the first two, the first three keep?",
        "`cumsum` of the squared singular values, divided by their sum, rises to 1. Where does it reach the share?",
        "If k entries of that row lie below the share, the answer is the rank after them. A matrix of zeros divides "
        "by zero: give it rank 1.",
    ),
)
def check_rank_for_energy(answer: Answer) -> None:
    """Known spectra, matrices in both orientations, convolutions, both ends, and a matrix of zeros."""
    for weight in _weights():
        values = singular_values(weight)
        for share in (0.0, 0.3, 0.5, 0.9, 0.99):
            if not _clear(values, share):
                continue
            expected = rank_for_energy(values, share)
            given = f"a weight of shape {tuple(weight.shape)} and a share of {share}"
            hint = _energy_hint(answer(weight, share), values, share)
            expect_equal("rank", answer(weight, share), expected, given=given, hint=hint)
    expect_equal("rank", answer(torch.zeros(3, 4), 0.9), 1, given="a matrix of zeros", hint="0 / 0 is not a number")


@probe("11.3")
def probe_rank_for_energy(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Ranks of random weights with fast and slow decay, at random shares that lie clearly between two ranks."""
    ranks = []
    for shape in [(12, 20), (24, 10), (8, 4, 3, 3), (30, 30)]:
        decay = 0.75 + 0.2 * float(torch.rand((), generator=generator))
        weight = _decaying(shape, decay, generator)
        kept = energy(singular_values(weight))
        for place in torch.randint(1, 7, (3,), generator=generator).tolist():
            share = float(kept[place - 1] + kept[place]) / 2
            ranks.append(answer(weight, share))
    return [*ranks, answer(torch.zeros(4, 4), 0.5)]


@question(
    "11.4",
    points=4,
    minutes=15,
    difficulty=3,
    title="What Tucker-2 costs",
    hints=(
        "Three convolutions: 1×1 to fewer channels, the kernel among the few, 1×1 back to many. Write down the shape "
        "(out, in, k, k) of each weight first.",
        "Every number of a convolution's weight is used once for each position of its output. Which of the three "
        "convolutions see the large image, and which the small one?",
        "The stride belongs to the convolution with the kernel. A picture of 7 with stride 2 becomes 4: round up.",
    ),
)
def check_tucker_cost(answer: Answer) -> None:
    """Square and flat layers, strides, odd sizes, 1×1 kernels: shapes, numbers and MACs."""
    for arguments in [
        (64, 64, 3, 16, 16, 14, 14, 1), (128, 64, 3, 20, 40, 14, 14, 2), (512, 256, 3, 64, 96, 4, 4, 2),
        (10, 6, 5, 2, 3, 7, 9, 2), (8, 8, 3, 8, 8, 5, 5, 1), (6, 4, 1, 2, 3, 3, 8, 3),
    ]:  # fmt: skip
        _expect_cost(answer(*arguments), arguments)


@probe("11.4")
def probe_tucker_cost(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Costs of random layers."""
    values = []
    for kernel, stride in [(3, 1), (3, 2), (5, 2), (1, 3)]:
        out, into, height, width = torch.randint(9, 80, (4,), generator=generator).tolist()
        rank_in, rank_out = torch.randint(2, 9, (2,), generator=generator).tolist()
        cost = answer(out, into, kernel, rank_in, rank_out, height, width, stride)
        values.append([[list(shape) for shape in cost["shapes"]], cost["parameters"], cost["macs"]])
    return values


@question(
    "11.5",
    points=4,
    minutes=20,
    difficulty=4,
    title="Best for the data",
    hints=(
        "Plain SVD treats all inputs alike. Multiply the weight with something that makes frequent directions of the "
        "input weigh more, cut there, and undo it afterwards.",
        "With C = S·Sᵀ (torch.linalg.cholesky), the error on the inputs is the plain error of W·S. So cut W·S.",
        "There is a way without any inverse: look at the outputs. Their leading directions U (of `inputs @ weight.T`) "
        "give the answer U·Uᵀ·W.",
    ),
)
def check_data_aware(answer: Answer) -> None:
    """Against the best weight of its rank for skewed inputs, in both orientations; inputs stay as they are."""
    for seed, (outside, inside) in enumerate([(6, 9), (9, 6), (8, 8)]):
        weight, inputs = _skewed(outside, inside, torch.Generator().manual_seed(seed))
        for rank in (1, 3, min(outside, inside)):
            _expect_data_aware(answer(weight, inputs, rank), weight, inputs, rank)
    expect_unchanged(answer, *_skewed(5, 7, torch.Generator().manual_seed(7)), 2)


@probe("11.5")
def probe_data_aware(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Outputs on the inputs, for random weights and skewed random inputs."""
    values = []
    for outside, inside, rank in [(6, 9, 2), (9, 6, 3), (7, 7, 1)]:
        weight, inputs = _skewed(outside, inside, generator)
        values.append((inputs.double() @ answer(weight, inputs, rank).detach().double().T).float())
    return values


@question(
    "11.6",
    points=3,
    minutes=10,
    difficulty=2,
    title="Merge a LoRA update",
    hints=(
        "The update is one more matrix of the weight's shape. Which order of A and B gives that shape?",
        "The paper scales the update with alpha divided by the rank. The rank is one of the sides of A.",
        "Return a new tensor; `weight += …` would change the original weight.",
    ),
)
def check_lora_weight(answer: Answer) -> None:
    """Shapes in both orientations, several ranks and scales, precision, and a weight that must not change."""
    generator = torch.Generator().manual_seed(0)
    for outside, inside, rank, alpha in [(6, 9, 2, 4.0), (9, 6, 3, 16.0), (5, 5, 5, 1.0), (7, 4, 1, 8.0)]:
        weight, a, b = _update(outside, inside, rank, generator)
        expected = lora_weight(weight, a, b, alpha)
        got = answer(weight, a, b, alpha)
        advice = "W + (alpha / r) · B · A, where r is the number of rows of A"
        if isinstance(got, Tensor) and got.shape == expected.shape and torch.allclose(got, weight + alpha * b @ a):
            advice = "alpha is divided by the rank"
        expect_close("merged weight", got, expected, rtol=1e-4, atol=1e-5, hint=advice)
    expect_unchanged(answer, *_update(4, 6, 2, generator), 8.0)


@probe("11.6")
def probe_lora_weight(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Merged weights, and the weights that were handed in."""
    values: list[Any] = []
    for outside, inside, rank in [(6, 9, 2), (8, 5, 4), (6, 6, 1)]:
        weight, a, b = _update(outside, inside, rank, generator)
        alpha = float(torch.randint(1, 33, (), generator=generator))
        call = getattr(answer, "in_place", answer)
        values += [call(weight, a, b, alpha).detach(), weight]
    return values


def _linear(inside: int, outside: int, bias: bool, seed: int) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inside, outside, bias=bias)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layer


def _expect_pair(pair: Any, layer: nn.Linear, rank: int) -> None:
    given = f"a layer from {layer.in_features} to {layer.out_features} and rank {rank}"
    expect(isinstance(pair, nn.Module), f"return a module, yours is {type(pair).__name__}", given=given)
    linear = [one for one in pair.modules() if isinstance(one, nn.Linear)]
    expect(len(linear) == 2, f"two linear layers are asked for, yours has {len(linear)}", given=given)
    shapes = [tuple(one.weight.shape) for one in linear]
    wanted = [(rank, layer.in_features), (layer.out_features, rank)]
    advice = "a weight of nn.Linear is (out, in), and the layer to `rank` comes first"
    expect_equal("shapes of the weights", shapes, wanted, given=given, hint=advice)
    biases = [one.bias is not None for one in linear]
    advice = "the original bias belongs to the last layer, and only where there was one"
    expect_equal("layers with a bias", biases, [False, layer.bias is not None], given=given, hint=advice)
    product = (linear[1].weight.double() @ linear[0].weight.double()).detach()
    advice = "keep the largest singular values, use each of them once, and mind that V comes transposed already"
    expect_close("product of the weights", product, best_of_rank(layer.weight, rank), rtol=1e-3, atol=1e-4, given=given,
                 hint=advice)  # fmt: skip
    example = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(1))
    expected = example @ product.float().T + (0 if layer.bias is None else layer.bias.detach())
    advice = "nothing stands between the two layers, and the bias keeps its values"
    expect_close("output", pair(example).detach(), expected, rtol=1e-3, atol=1e-3, given=given, hint=advice)


def _weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [((12, 20), 0.8), ((20, 12), 0.9), ((8, 4, 3, 3), 0.9), ((6, 6), 0.5), ((1, 7), 1.0)]
    return [torch.diag(torch.tensor([4.0, 2.0, 1.0])), *(_decaying(shape, decay, generator) for shape, decay in shapes)]


def _decaying(shape: tuple[int, ...], decay: float, generator: torch.Generator) -> Tensor:
    """A weight whose singular values fall by ``decay`` from one to the next."""
    rows = shape[0]
    columns = torch.Size(shape[1:]).numel()
    count = min(rows, columns)
    left = torch.linalg.qr(torch.randn(rows, count, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(columns, count, generator=generator)).Q
    return (left * decay ** torch.arange(count) @ right.T).reshape(shape)


def _clear(values: Tensor, share: float) -> bool:
    """Whether a share is so far from every rank's energy that rounding cannot decide."""
    return bool(((energy(values) - share).abs() > 1e-4).all())


def _energy_hint(got: Any, values: Tensor, share: float) -> str:
    plain = values.double().cumsum(0) / values.double().sum().clamp_min(1e-30)
    if got == int((plain < share).sum()) + 1:
        return "energy is the sum of the squares of the singular values"
    return "the smallest rank whose first singular values keep at least the share of the squared sum; at least 1"


def _expect_cost(cost: Any, arguments: tuple[int, ...]) -> None:
    names = ("out_channels", "in_channels", "kernel", "rank_in", "rank_out", "height", "width", "stride")
    given = ", ".join(f"{name} {value}" for name, value in zip(names, arguments, strict=True))
    expect(isinstance(cost, dict), f"return a dictionary, yours is {type(cost).__name__}", given=given)
    expected = tucker_cost(*arguments)
    expect_equal("keys", sorted(cost), sorted(expected), given=given)
    advice = "(out, in, k, k): first in → rank_in, then rank_in → rank_out with the kernel, then rank_out → out"
    expect_equal("shapes", cost["shapes"], expected["shapes"], given=given, hint=advice)
    expect_equal("parameters", cost["parameters"], expected["parameters"], given=given, hint="all three, without bias")
    advice = "the first convolution runs before the stride, the other two after it; sizes are rounded up"
    expect_equal("macs", cost["macs"], expected["macs"], given=given, hint=advice)


def _skewed(outside: int, inside: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A weight, and inputs that are large in some directions and small in others."""
    mixing = torch.randn(inside, inside, generator=generator) * torch.logspace(0.7, -1, inside)
    return torch.randn(outside, inside, generator=generator), torch.randn(60, inside, generator=generator) @ mixing.T


def _expect_data_aware(got: Any, weight: Tensor, inputs: Tensor, rank: int) -> None:
    given = f"a weight of shape {tuple(weight.shape)}, {len(inputs)} inputs and rank {rank}"
    expect(isinstance(got, Tensor), f"return a tensor, yours is {type(got).__name__}", given=given)
    expect_equal("shape", tuple(got.shape), tuple(weight.shape), given=given, hint="the product has the weight's shape")
    spectrum = torch.linalg.svdvals(got.detach().double())
    expect(bool((spectrum[rank:] < 1e-3 * spectrum[0]).all()), f"the result has a higher rank than {rank}", given=given)
    expected = (inputs.double() @ whitened(weight, inputs, rank).T).float()
    advice = "the outputs on these inputs are not as close as they can be; is the weight cut before it is whitened?"
    if torch.allclose(got.detach().double(), best_of_rank(weight, rank), atol=1e-3):
        advice = "this is the plain SVD of the weight: best for all inputs alike, not for these"
    outputs = (inputs.double() @ got.detach().double().T).float()
    expect_close("outputs on the inputs", outputs, expected, rtol=1e-2, atol=2e-2, given=given, hint=advice)


def _update(outside: int, inside: int, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    shapes = [(outside, inside), (rank, inside), (outside, rank)]
    weight, a, b = (torch.randn(shape, generator=generator) for shape in shapes)
    return weight, a, b
