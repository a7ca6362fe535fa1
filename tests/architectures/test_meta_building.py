"""Models are built without memory, and then get it: values of small ranges are known, shared tensors stay shared."""

import pytest
import torch
from torch import nn

from course_lib import models
from course_lib.architectures.meta_building import with_memory, without_memory
from tests.unusual_models import tiny_causal_lm


class ByNumbers(nn.Module):
    """A builder that reads values of a range, a parameter of its own, and a tied layer."""

    def __init__(self) -> None:
        super().__init__()
        width = int(torch.arange(5)[-1].item()) * 2
        self.token = nn.Parameter(torch.zeros(1, width))
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.register_buffer("positions", torch.arange(width), persistent=False)


def test_small_ranges_have_values_and_weights_have_none():
    with without_memory():
        model = ByNumbers()
    assert model.first.weight.is_meta and model.positions.tolist() == list(range(8))


def test_large_ranges_have_no_memory():
    with without_memory():
        assert torch.arange(2**40).is_meta and torch.linspace(0, 1, 2**30).is_meta


def test_every_tensor_gets_memory_and_tied_ones_stay_tied():
    with without_memory():
        model = ByNumbers()
    with_memory(model, {})
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    assert model.second.weight is model.first.weight and model.token.requires_grad
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_buffer_that_only_its_builder_can_compute_is_refused():
    with without_memory():
        model = nn.Sequential(nn.Linear(2, 2))
        model[0].register_buffer("table", torch.full((3,), 7.0), persistent=False)
    with pytest.raises(ValueError, match=r"only its builder can compute 0\.table"):
        with_memory(model, {})


@pytest.mark.parametrize("kind", ["llama", "opt", "gpt2"])
def test_a_resized_language_model_has_the_values_that_its_builder_computes(kind):
    plain = tiny_causal_lm(kind, layers=1)
    description = models.describe(plain)
    name = {"llama": "model.layers.0.mlp.up_proj", "opt": "model.decoder.layers.0.fc1", "gpt2": "lm_head"}[kind]
    if kind == "gpt2":
        description = {**description, "arguments": {**description["arguments"], "widths": {"lm_head": [32, 64]}}}
    else:
        description = {**description, "arguments": {**description["arguments"], "ranks": {name: ["svd", 4]}}}
    resized = models.build(description)
    values = dict(resized.named_buffers())
    for key, value in plain.named_buffers():
        assert torch.equal(values[key], value), key
