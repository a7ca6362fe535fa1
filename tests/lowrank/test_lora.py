"""LoRA computes the same at first, trains few parameters and merges into one weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import lowrank, training


def test_lora_changes_nothing_at_first_trains_little_and_merges(mlp, train):
    adapted = lowrank.add_lora(mlp, 2, ["1", "3"], train_also=["5"])
    vectors_in = train.inputs[:5]
    assert torch.equal(adapted(vectors_in), mlp(vectors_in))
    trainable = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
    assert trainable == 2 * (12 + 40) + 2 * (40 + 30) + 30 * 3 + 3
    frozen = adapted[1].base.weight.clone()
    training.fit(adapted, train, epochs=3, learning_rate=1e-2, progress=False)
    assert torch.equal(adapted[1].base.weight, frozen) and adapted[1].B.abs().sum() > 0
    merged = lowrank.merge_lora(adapted)
    assert isinstance(merged[1], nn.Linear) and all(one.requires_grad for one in merged.parameters())
    assert torch.allclose(merged(vectors_in), adapted(vectors_in), atol=1e-5)
    assert lowrank.singular_values(merged[1].weight - mlp[1].weight)[2:].max() < 1e-5


@pytest.mark.parametrize(
    ("rank", "layers", "problem"), [(0, ["1"], "from 1 to 12"), (2, ["2"], "linear"), (2, ["x"], "linear")]
)
def test_lora_refuses_what_it_cannot_adapt(mlp, rank, layers, problem):
    with pytest.raises(ValueError, match=problem):
        lowrank.add_lora(mlp, rank, layers)


def test_lora_names_a_module_that_is_not_there(mlp):
    with pytest.raises(ValueError, match="train_also must name modules of the model, got 'head'"):
        lowrank.add_lora(mlp, 2, ["1"], train_also=["head"])


class Absolute(nn.Linear):
    """A linear layer that uses the absolute values of its weight."""

    def forward(self, values):
        return nn.functional.linear(values, self.weight.abs(), self.bias)


def test_a_layer_that_could_not_be_merged_is_refused():
    hooked = nn.Sequential(nn.Linear(4, 4))
    hooked[0].register_forward_hook(lambda module, args, output: output + 1)
    for model, layer in ((nn.Sequential(Absolute(4, 4)), "0"), (hooked, "0")):
        with pytest.raises(ValueError, match="could not be merged"):
            lowrank.add_lora(model, 2, [layer])
    with pytest.raises(ValueError, match="without being called, so no update reaches it"):
        lowrank.add_lora(nn.Sequential(nn.MultiheadAttention(4, 2)), 2, ["0.out_proj"])
