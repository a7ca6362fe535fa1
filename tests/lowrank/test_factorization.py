"""Models with factored layers, plans by size and energy, and everything that is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib import lowrank, models, storage
from course_lib.architectures import input_quantizers
from tests.lowrank.conftest import pictures


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(
        torch.equal(now[name].nan_to_num(7), before[name].nan_to_num(7)) for name in now
    )


def test_a_copy_gets_factors_and_the_original_stays(cnn):
    before = state(cnn)
    result = lowrank.factorize(cnn, {"2": ("tucker", 8, 12), "8": ("svd", 1)})
    assert same(cnn, before) and isinstance(result.model[2], lowrank.Factored)
    assert lowrank.parameters(result.model) < lowrank.parameters(cnn)
    table = result.report.set_index("layer")
    assert table.loc["2", "ranks"] == "8×12" and table.loc["2", "before"] == 24 * 32 * 9
    assert table.loc["2", "after"] == 24 * 8 + 8 * 12 * 9 + 12 * 32
    images, _ = pictures("train")[0]
    assert not result.model.training and result.model(images).shape == cnn(images).shape


def test_a_factored_model_is_stored_with_its_ranks(mlp, tmp_path):
    result = lowrank.factorize(mlp, lowrank.plan_for_size(mlp, 0.5, multiple=2))
    again = storage.load(storage.save(result.model, tmp_path / "model.safetensors"))
    vectors = torch.randn(3, 12)
    assert torch.equal(again(vectors), result.model(vectors))
    assert models.describe(again)["arguments"]["ranks"] == {name: list(entry) for name, entry in result.plan.items()}
    assert "ranks" not in models.describe(mlp)["arguments"]


def test_layers_can_be_factored_one_after_the_other(mlp, tmp_path):
    once = lowrank.factorize(mlp, {"1": ("svd", 4)})
    twice = lowrank.factorize(once.model, {"3": ("svd", 5)})
    assert models.describe(twice.model)["arguments"]["ranks"] == {"1": ["svd", 4], "3": ["svd", 5]}
    again = storage.load(storage.save(twice.model, tmp_path / "model.safetensors"))
    assert torch.equal(again(torch.ones(1, 12)), twice.model(torch.ones(1, 12)))


def test_a_narrowed_model_can_be_factored_and_stored(tmp_path):
    widths = {"layer1.0.conv1": [64, 40], "layer1.0.bn1": [40], "layer1.0.conv2": [40, 64]}
    torch.manual_seed(0)
    narrow = models.build({"builder": "resnet18", "arguments": {"widths": widths}})
    result = lowrank.factorize(narrow, {"layer1.0.conv2": ("tucker", 16, 24), "layer1.0.conv1": ("svd", 8)})
    again = storage.load(storage.save(result.model, tmp_path / "model.safetensors"))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(images), result.model(images))


def test_a_model_with_folded_norms_can_be_factored_and_stored(tmp_path):
    folded = models.build({"builder": "resnet18", "arguments": {"folds": [["layer1.0.conv1", "layer1.0.bn1"]]}})
    folded.layer1[0].conv1.bias.data.fill_(0.5)
    result = lowrank.factorize(folded, {"layer1.0.conv1": ("tucker", 16, 24)})
    again = storage.load(storage.save(result.model, tmp_path / "model.safetensors"))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(images), result.model(images))
    assert models.describe(folded)["arguments"]["folds"] == [["layer1.0.conv1", "layer1.0.bn1"]]


def test_a_bert_and_its_word_table(bert, tmp_path):
    words = "bert.embeddings.word_embeddings"
    plan = {words: ("embedding", 8)} | lowrank.plan_for_size(bert, 0.6, multiple=2)
    result = lowrank.factorize(bert, plan)
    tokens = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    again = storage.load(storage.save(result.model, tmp_path / "model.safetensors"))
    assert torch.equal(again(**tokens).logits, result.model(**tokens).logits)
    assert lowrank.factorable(bert, "embedding")[0] == words


def test_energy_gives_every_layer_its_own_rank_and_leaves_out_what_does_not_pay(mlp):
    mlp[1].weight.data = torch.outer(torch.randn(40), torch.randn(12)) + 1e-4 * torch.randn(40, 12)
    plan = lowrank.plan_for_energy(mlp, 0.99, multiple=1)
    assert plan["1"] == ("svd", 1) and "3" not in plan and "5" not in plan


def test_energy_along_both_axes_for_tucker(cnn):
    exact = lowrank.factor_layer(cnn[2], "tucker", [5, 7])
    cnn[2].weight.data = lowrank.merge(exact)
    assert lowrank.plan_for_energy(cnn, 1 - 1e-9, "tucker", ["2"], multiple=1) == {"2": ("tucker", 5, 7)}


def test_factors_are_not_factored_again(mlp):
    model = lowrank.factorize(mlp, {"1": ("svd", 4)}).model
    assert lowrank.factorable(model, "svd") == ["3", "5"]
    for name in ("1", "1.first"):
        with pytest.raises(ValueError, match="factored already"):
            lowrank.factorize(model, {name: ("svd", 2)})


@pytest.mark.parametrize(
    ("damage", "plan", "problem"),
    [
        (lambda model: model.train(), {"2": ("svd", 4)}, "eval mode"),
        (lambda model: model, {}, "at least one layer"),
        (lambda model: model, {"9": ("svd", 4)}, "'9' is not a layer"),
        (lambda model: model, {"1": ("svd", 4)}, "is a ReLU"),
        (lambda model: model, {"2": ("svd", 33)}, "layer '2': rank must be a whole number from 1 to 32"),
        (lambda model: model, {"2": ("svd", 4.0)}, "whole number"),
        (lambda model: model, {"2": ("svd", 30)}, "would make it larger: .* up to rank 27"),
        (lambda model: model, {"2": ("tucker", 24, 32)}, "would make it larger"),
        (lambda model: model, {"8": ("svd", 2)}, "would make it larger"),
        (lambda model: model[2].requires_grad_(False), {"2": ("svd", 4)}, "frozen"),
        (lambda model: model[2].weight.data.fill_(float("nan")), {"2": ("svd", 4)}, "NaN"),
        (lambda model: model[2].weight.data[0].fill_(float("inf")), {"2": ("svd", 4)}, "infinity"),
        (lambda model: model.append(model[8]), {"8": ("svd", 1)}, "shares its weight with '9'"),
        (
            lambda model: input_quantizers.add_input_grid(model[2], input_quantizers.InputGrid(0, 255)),
            {"2": ("svd", 4)},
            "rounds its input",
        ),
        (lambda model: model.__setitem__(2, nn.Conv2d(24, 32, 3, groups=8)), {"2": ("svd", 2)}, "8 groups"),
        (lambda model: model.__setitem__(2, nn.Conv2d(24, 24, 3, groups=24)), {"2": ("tucker", 2, 2)}, "24 groups"),
    ],
)
def test_bad_input_is_refused_by_name_and_the_model_is_unchanged(cnn, damage, plan, problem):
    damage(cnn)
    before, modes = state(cnn), [module.training for module in cnn.modules()]
    with pytest.raises(ValueError, match=problem):
        lowrank.factorize(cnn, plan)
    assert same(cnn, before) and [module.training for module in cnn.modules()] == modes


def test_a_weight_that_two_layers_share_is_refused(mlp):
    tied = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)).eval()
    tied[2].weight = tied[0].weight
    with pytest.raises(ValueError, match="shares its weight with '2'"):
        lowrank.plan_for_size(tied, 0.5, multiple=1)


def test_the_largest_rank_that_the_error_names_is_accepted(cnn):
    lowrank.factorize(cnn, {"2": ("svd", 27)})
    original = copy.deepcopy(cnn[2].weight)
    assert torch.equal(original, cnn[2].weight)


def test_one_odd_layer_does_not_stop_the_others():
    class Scaled(nn.Linear):
        def forward(self, values):
            return 2 * super().forward(values)

    model = nn.Sequential(
        nn.Conv2d(8, 16, 3, padding="same"), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1),
        nn.Flatten(), nn.Linear(16 * 16, 32), Scaled(32, 32), nn.Linear(32, 32),
    ).eval()  # fmt: skip
    model[2].weight.requires_grad_(False)
    for kind, expected in {"svd": {"1", "4", "6"}, "tucker": {"1"}}.items():
        assert set(lowrank.plan_for_size(model, 0.5, kind, multiple=1)) == expected
    x = torch.randn(2, 8, 4, 4)
    result = lowrank.factorize(model, lowrank.plan_for_size(model, 0.9, multiple=1))
    assert torch.allclose(result.model(x), model(x), atol=0.5 * model(x).abs().max().item())
    for layer, reason in {"0": "padding must be numbers", "2": "is frozen", "5": "forward pass of its own"}.items():
        with pytest.raises(ValueError, match=reason):
            lowrank.plan_for_size(model, 0.5, layers=[layer])


def test_the_projections_of_attention_modules_are_left_out():
    model = nn.TransformerEncoderLayer(32, 4, 64).eval()
    assert set(lowrank.plan_for_size(model, 0.5, multiple=1)) == {"linear1", "linear2"}
    with pytest.raises(ValueError, match="used by its attention module without being called"):
        lowrank.factorize(model, {"self_attn.out_proj": ("svd", 4)})


def test_gpt2_and_models_that_read_a_weight_without_a_call():
    from foreign_families import FAMILIES

    for family in ("GPT-2", "Swin"):
        model = FAMILIES[family].model()
        plan = lowrank.plan_for_size(model, 0.6, multiple=1)
        full = {name: (kind, rank) for name, (kind, rank) in plan.items()}
        assert any(name.endswith(("c_attn", "qkv")) for name in full)
        result = lowrank.factorize(model, full)
        with torch.no_grad():
            assert torch.isfinite(models.forward(result.model, FAMILIES[family].inputs())).all()


def test_a_layer_with_hooks_is_refused_and_left_out_of_a_plan():
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32)).eval()
    model[0].register_forward_hook(lambda module, args, output: output + 1)
    assert list(lowrank.plan_for_size(model, 0.5)) == ["1"]
    with pytest.raises(ValueError, match="layer '0' has forward hooks"):
        lowrank.factorize(model, {"0": ("svd", 4)})
