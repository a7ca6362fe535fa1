"""What frozen norms (question 07.3) and a repaired training loop on the grid (07.6) must do, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.learning.answer import Answer
from course_lib.learning.exercises import reference_07 as right
from course_lib.learning.expect import expect, expect_close, expect_equal

Batches = list[tuple[Tensor, Tensor]]


def small_network(seed: int) -> nn.Module:
    """A convolution with a norm and a linear layer, in double precision, with statistics that are not the defaults."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
        model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), head).double()
        model.get_buffer("1.running_mean").normal_(0, 0.3)
        model.get_buffer("1.running_var").uniform_(0.5, 1.5)
    return model.eval()


def with_norms() -> nn.Module:
    """Three norms at different depths, and a dropout that must go on training."""
    inner = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(100, 6), nn.BatchNorm1d(6), nn.ReLU())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, affine=False), inner]
        model = nn.Sequential(*layers)
        model.get_submodule("4.2").reset_parameters()  # type: ignore[operator]
    return model.eval()


def expect_modes(model: nn.Module, frozen: bool, given: str) -> None:
    """Every module trains, except frozen norms; no parameter is frozen."""
    for name, module in model.named_modules():
        norm = isinstance(module, right.NORMS)
        expected = not frozen if norm else True
        advice = "`model.train()` sets the flag on every module; after that `eval()` on each norm takes it back"
        what = f"training flag of {name or 'the model'!r} ({type(module).__name__})"
        expect_equal(what, module.training, expected, given=given, hint=advice)
    advice = "only the statistics are frozen: gamma and beta go on learning"
    expect(all(one.requires_grad for one in model.parameters()), "a parameter is frozen", given=given, hint=advice)


def batches_for(model: nn.Module, generator: torch.Generator, count: int = 3) -> Batches:
    """Random images with labels."""
    return [
        (
            torch.randn(5, 2, 6, 6, generator=generator, dtype=torch.float64),
            torch.randint(0, 3, (5,), generator=generator),
        )
        for _ in range(count)
    ]


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Another loss than the usual one, so that it has to be the one that is handed in."""
    return (outputs - nn.functional.one_hot(labels, 3)).square().mean()


def expect_trained(
    answer: Answer,
    model: nn.Module,
    bits: int,
    epochs: int,
    learning_rate: float,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """A fresh copy in eval mode with frozen statistics, weights on the grid, and the training that was asked for."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batches = batches_for(model, torch.Generator().manual_seed(bits))
    expected = right.train_on_grid(model, batches, loss, bits, epochs, learning_rate)
    given = f"bits = {bits}, epochs = {epochs}, learning_rate = {learning_rate:g}"
    trained = answer.in_place(model, batches, loss, bits, epochs, learning_rate)
    advice = "is there a return statement?"
    expect(isinstance(trained, nn.Module), f"expected a model, got {type(trained).__name__}", given=given, hint=advice)
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    advice = "work on `copy.deepcopy(model)`"
    expect(trained is not model and not changed, "the model that was handed in was changed", given=given, hint=advice)
    expect_equal("tensors of the result", sorted(trained.state_dict()), sorted(before), given=given)
    expect(not trained.training, "the result is still in training mode", given=given, hint="end with .eval()")
    for name, tensor in expected.state_dict().items():
        _expect_tensor(name, trained.state_dict()[name], tensor, before[name], bits, given)


def _expect_tensor(name: str, found: Any, expected: Tensor, before: Tensor, bits: int, given: str) -> None:
    advice = "in each step: round the precise weights, compute the loss with the rounded ones, update the precise ones"
    if "running" in name or "num_batches" in name:
        advice = "the statistics of the norms must stay as they are: use your train_mode with norms_frozen=True"
    elif found.dim() > 1 and not torch.allclose(found, right.on_grid(found, bits), rtol=1e-6, atol=1e-9):
        advice = "these weights do not lie on their grid: write the rounded values into the copy at the end"
    elif torch.allclose(found, right.on_grid(before, bits)) if found.dim() > 1 else torch.equal(found, before):
        advice = "this tensor was not trained: did the gradient reach it, and did the optimizer know it?"
    expect_close(name, found, expected, rtol=1e-5, atol=1e-7, given=given, hint=advice)
