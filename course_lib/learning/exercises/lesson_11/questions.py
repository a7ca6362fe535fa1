"""Checks and probes of exercise 11, low-rank factorization: break-even, SVD, energy, Tucker-2, whitening, LoRA."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_11 import reference
from course_lib.learning.exercises.lesson_11.expectations import (
    energy,
    energy_hint,
    expect_apart,
    expect_cost,
    expect_data_aware,
    expect_pair,
    is_clear,
    shares_memory,
    singular_values,
)
from course_lib.learning.expect import expect_close, expect_equal, expect_unchanged
from course_lib.learning.questions import probe, question

EXCLUDED = ("course_lib.lowrank",)


@question("11.1")
def check_break_even_rank(answer: Answer) -> None:
    """Square, tall and wide matrices, sizes with a whole break-even point, and matrices too small to factorize."""
    sizes = [(20, 50), (512, 4608), (4, 4), (384, 384), (6, 3), (1, 1), (1, 9), (2, 2), (1000, 10), (12, 4)]
    for rows, columns in [*sizes, *itertools.product(range(1, 17), repeat=2)]:
        expected = reference.break_even_rank(rows, columns)
        got = answer(rows, columns)
        advice = "the factors hold r·(rows + columns) numbers; return the largest r with fewer than rows·columns"
        if got == expected + 1:
            advice = "with this rank the factors hold at least as many numbers as the matrix: equal is not smaller"
        expect_equal("break-even rank", got, expected, hint=advice)


@probe("11.1")
def probe_break_even_rank(answer: Answer, generator: torch.Generator) -> Any:
    """Ranks of random sizes, and of some with a whole break-even point."""
    sizes = torch.randint(1, 700, (12, 2), generator=generator).tolist()
    even = (2 * torch.randint(1, 300, (4,), generator=generator)).tolist()
    return [answer(rows, columns) for rows, columns in [*sizes, *((size, size) for size in even), (6, 3), (1, 5)]]


@question("11.2")
def check_svd_layer(answer: Answer) -> None:
    """Shapes, bias or none, the product against the best of its rank, and an unchanged original."""
    for index, (inside, outside, bias) in enumerate([(8, 6, True), (5, 9, True), (7, 7, False)]):
        layer = _linear(inside, outside, bias, index)
        for rank in (1, 2, min(inside, outside)):
            expect_pair(answer(layer, rank), layer, rank)
        expect_apart(answer, layer)
    expect_unchanged(answer, _linear(6, 5, True, 9), 2)


@probe("11.2")
def probe_svd_layer(answer: Answer, generator: torch.Generator) -> Any:
    """Shapes, and outputs of random layers for random inputs."""
    for inside, outside, bias, rank in [(9, 6, True, 2), (5, 8, True, 4), (6, 6, False, 3)]:
        layer = _linear(inside, outside, bias, int(torch.randint(0, 2**31, (), generator=generator)))
        pair = answer.in_place(layer, rank)
        yield [shares_memory(pair, layer), all(one.requires_grad for one in pair.parameters())]
        layers = [one for one in pair.modules() if isinstance(one, nn.Linear)]
        yield from [[list(one.weight.shape), one.bias is not None] for one in layers]
        yield pair(torch.randn(4, inside, generator=generator)).detach().float()


@question("11.3")
def check_rank_for_energy(answer: Answer) -> None:
    """Known spectra, matrices in both orientations, convolutions, shares from 0 to 0.99, and a matrix of zeros."""
    halving = torch.diag(2.0 ** torch.arange(8).flip(0))
    given = "a diagonal matrix with 128, 64, …, 1 and a share of 0.96"
    got, values = answer(halving, 0.96), singular_values(halving)
    expect_equal("rank", got, 3, given=given, hint=energy_hint(got, values, 0.96))
    for weight in _weights():
        values = singular_values(weight)
        for share in (0.0, 0.3, 0.5, 0.9, 0.99):
            if not is_clear(values, share):
                continue
            got, expected = answer(weight, share), reference.rank_for_energy(weight, share)
            given = f"a weight of shape {tuple(weight.shape)} and a share of {share}"
            expect_equal("rank", got, expected, given=given, hint=energy_hint(got, values, share))
    given, advice = "the identity of size 4 and a share of 0.5", "exactly the share is enough: at least, not more than"
    expect_equal("rank", answer(torch.eye(4), 0.5), 2, given=given, hint=advice)
    expect_equal("rank", answer(torch.zeros(3, 4), 0.9), 1, given="a matrix of zeros", hint="0 / 0 is not a number")


@probe("11.3")
def probe_rank_for_energy(answer: Answer, generator: torch.Generator) -> Any:
    """Ranks of random weights with fast and slow decay, at random shares between the energies of two ranks."""
    for shape in [(12, 20), (24, 10), (8, 4, 3, 3), (30, 30)]:
        decay = 0.75 + 0.2 * float(torch.rand((), generator=generator))
        weight = _decaying(shape, decay, generator)
        kept = energy(singular_values(weight))
        for place in torch.randint(1, 7, (3,), generator=generator).tolist():
            yield answer(weight, float(kept[place - 1] + kept[place]) / 2)
    yield from [answer(torch.zeros(4, 4), 0.5), answer(torch.eye(4), 0.5)]


@question("11.4")
def check_tucker_cost(answer: Answer) -> None:
    """Square and flat layers, strides, odd sizes, 1×1 kernels: shapes, numbers and MACs."""
    for arguments in [
        (64, 64, 3, 16, 16, 14, 14, 1), (128, 64, 3, 20, 40, 14, 14, 2), (512, 256, 3, 64, 96, 4, 4, 2),
        (10, 6, 5, 2, 3, 7, 9, 2), (8, 8, 3, 8, 8, 5, 5, 1), (6, 4, 1, 2, 3, 3, 8, 3),
    ]:  # fmt: skip
        expect_cost(answer(*arguments), arguments)


@probe("11.4")
def probe_tucker_cost(answer: Answer, generator: torch.Generator) -> Any:
    """Costs of random layers."""
    for kernel, stride in [(3, 1), (3, 2), (5, 2), (1, 3)]:
        out, into, height, width = torch.randint(9, 80, (4,), generator=generator).tolist()
        rank_in, rank_out = torch.randint(2, 9, (2,), generator=generator).tolist()
        cost = answer(out, into, kernel, rank_in, rank_out, height, width, stride)
        yield [[list(shape) for shape in cost["shapes"]], cost["parameters"], cost["macs"]]


@question("11.5")
def check_data_aware(answer: Answer) -> None:
    """Against the best weight of its rank for skewed inputs, in both orientations; inputs must not change."""
    for seed, (outside, inside) in enumerate([(6, 9), (9, 6), (8, 8)]):
        weight, inputs = _skewed(outside, inside, torch.Generator().manual_seed(seed))
        for rank in (1, 3, min(outside, inside)):
            expect_data_aware(answer(weight, inputs, rank), weight, inputs, rank)
    expect_unchanged(answer, *_skewed(5, 7, torch.Generator().manual_seed(7)), 2)


@probe("11.5")
def probe_data_aware(answer: Answer, generator: torch.Generator) -> Any:
    """Outputs on the inputs, for random weights and skewed random inputs."""
    for outside, inside, rank in [(6, 9, 2), (9, 6, 3), (7, 7, 1)]:
        weight, inputs = _skewed(outside, inside, generator)
        yield (inputs.double() @ answer(weight, inputs, rank).detach().double().T).float()


@question("11.6")
def check_lora_weight(answer: Answer) -> None:
    """Shapes in both orientations, several ranks and scales, and an unchanged weight."""
    generator = torch.Generator().manual_seed(0)
    for outside, inside, rank, alpha in [(9, 6, 3, 16.0), (6, 9, 2, 4.0), (5, 5, 5, 1.0), (7, 4, 1, 8.0)]:
        weight, a, b = _update(outside, inside, rank, generator)
        expected = reference.lora_weight(weight, a, b, alpha)
        got = answer(weight, a, b, alpha)
        advice = "W + (alpha / r) · B · A, where r is the number of rows of A"
        undivided = weight + alpha * b @ a
        if isinstance(got, Tensor) and got.shape == expected.shape and torch.allclose(got.float(), undivided):
            advice = "`alpha` is divided by the rank"
        expect_close("merged weight", got, expected, rtol=1e-4, atol=1e-5, hint=advice)
    example = torch.tensor([[1.0, 0.0]]), torch.ones(1, 2), torch.tensor([[2.0]]), 0.5
    expect_close("merged weight", answer(*example), torch.tensor([[2.0, 1.0]]), given="the example of the text")
    expect_unchanged(answer, *_update(4, 6, 2, generator), 8.0)


@probe("11.6")
def probe_lora_weight(answer: Answer, generator: torch.Generator) -> Any:
    """Merged weights, and the original weights afterwards."""
    for outside, inside, rank in [(6, 9, 2), (8, 5, 4), (6, 6, 1)]:
        weight, a, b = _update(outside, inside, rank, generator)
        alpha = float(torch.randint(1, 33, (), generator=generator))
        yield from [answer.in_place(weight, a, b, alpha).detach(), weight]


def _linear(inside: int, outside: int, bias: bool, seed: int) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inside, outside, bias=bias)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layer


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


def _skewed(outside: int, inside: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A weight, and inputs that are large in some directions and small in others, with a mean that is not 0."""
    mixing = torch.randn(inside, inside, generator=generator) * torch.logspace(0.7, -1, inside)
    mean = 4 * torch.randn(inside, generator=generator)
    weight = torch.randn(outside, inside, generator=generator)
    return weight, torch.randn(60, inside, generator=generator) @ mixing.T + mean


def _update(outside: int, inside: int, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    shapes = [(outside, inside), (rank, inside), (outside, rank)]
    weight, a, b = (torch.randn(shape, generator=generator) for shape in shapes)
    return weight, a, b
