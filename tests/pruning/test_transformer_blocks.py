"""Heads and neurons of the transformers library are found without tracing, and only where its own code runs."""

from __future__ import annotations

import pytest
import torch
from foreign_families import FAMILIES
from torch import nn

from course_lib import lowrank, models, pruning, storage
from course_lib.pruning.coupling import CouplingError, IndexMap, couple

HEADS_AND_NEURONS = [
    "Llama",
    "Qwen2",
    "Mistral",
    "Gemma",
    "GPT-2",
    "OPT",
    "RoBERTa",
    "DistilBERT",
    "ViT (transformers)",
]


@pytest.mark.parametrize("family", HEADS_AND_NEURONS)
def test_every_layer_has_a_group_of_heads_and_one_of_neurons(family):
    coupling = couple(FAMILIES[family].model())
    assert [group.unit for group in coupling.values()].count("head") == 2
    assert [group.unit for group in coupling.values()].count("neuron") == 2
    assert not any(group.kept_whole for group in coupling.values())


def test_query_heads_that_share_a_key_are_one_channel():
    group = couple(FAMILIES["Llama"].model())["model.layers.0.self_attn"]
    assert group.channels == 2
    assert {member.layer.rpartition(".")[2]: member.map for member in group.members} == {
        "q_proj": IndexMap(0, 16), "k_proj": IndexMap(0, 8), "v_proj": IndexMap(0, 8), "o_proj": IndexMap(0, 16),
    }  # fmt: skip
    small = pruning.prune_channels(FAMILIES["Llama"].model(), 0.5).model
    attention = small.model.layers[0].self_attn
    assert (attention.q_proj.out_features, attention.k_proj.out_features) == (16, 8)


def test_a_fused_projection_loses_a_head_in_three_places():
    model = FAMILIES["GPT-2"].model()
    kept = {"transformer.h.0.attn": torch.tensor([0, 3])}
    attention = pruning.remove_channels(model, kept).transformer.h[0].attn
    rows = torch.cat([torch.arange(32 * part, 32 * part + 32)[[*range(8), *range(24, 32)]] for part in range(3)])
    assert torch.equal(attention.c_attn.weight, model.transformer.h[0].attn.c_attn.weight[:, rows])
    assert (attention.num_heads, attention.split_size) == (2, 16)


@pytest.mark.parametrize("family", ["GPT-2", "OPT", "ALBERT"])
def test_a_model_with_fewer_heads_is_stored(family, tmp_path):
    small = pruning.prune_channels(FAMILIES[family].model(), 0.5, unit="head").model
    again = storage.load(storage.save(small, tmp_path / "model.safetensors"))
    inputs = FAMILIES[family].inputs()
    with torch.no_grad():
        assert torch.equal(models.forward(again, inputs), models.forward(small, inputs))


def test_a_model_around_the_blocks_does_not_matter():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = FAMILIES["DistilBERT"].model().distilbert, nn.Linear(32, 3)

        def forward(self, tokens):
            return self.head(self.inner(tokens).last_hidden_state.mean(dim=1))

    torch.manual_seed(0)
    model = Wrapped().eval()
    small = pruning.prune_channels(model, 0.5).model
    assert small.inner.transformer.layer[0].ffn.lin1.out_features == 32
    assert small(torch.ones(1, 4, dtype=torch.long)).shape == (1, 3)


def test_a_class_from_elsewhere_with_a_known_name_is_not_taken_for_it():
    class LlamaMLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_proj, self.up_proj, self.down_proj = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.down_proj((self.gate_proj(x) * self.up_proj(x)).flip(-1))

    assert couple(LlamaMLP().eval()).prunable() == {}


def test_factored_projections_are_left_alone():
    model = FAMILIES["Llama"].model()
    layer = "model.layers.0.mlp.up_proj"
    factored = lowrank.factorize(model, {layer: ("svd", 4)}).model
    assert "model.layers.0.mlp.gate_proj" not in couple(factored)
    assert "model.layers.1.mlp.gate_proj" in couple(factored)


def test_a_transformer_without_a_known_block_is_refused():
    import transformers

    config = transformers.BloomConfig(vocab_size=20, hidden_size=8, n_layer=1, n_head=2)
    with pytest.raises(CouplingError, match="BloomForCausalLM cannot be traced"):
        couple(transformers.BloomForCausalLM(config))
