"""Descriptions with ranks: shapes follow from them, files come back, and made-up ones are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import models, profiling, storage
from course_lib.architectures.factorized import Factored, factored, largest_ranks
from course_lib.storage.architecture_check import check_architecture
from course_lib.storage.encodings import FormatError

PLAN = {
    "layer1.0.conv1": ["tucker", 8, 16], "layer2.0.conv1": ["svd", 12], "layer1.1.conv2": ["cp", 10], "fc": ["svd", 4],
}  # fmt: skip
BERT = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32,
}  # fmt: skip
QUERY, WORDS = "bert.encoder.layer.0.attention.self.query", "bert.embeddings.word_embeddings"


def build(builder: str, **arguments) -> nn.Module:
    torch.manual_seed(0)
    return models.build({"builder": builder, "arguments": arguments})


def test_a_factored_resnet_comes_back_from_its_file_bit_for_bit(tmp_path):
    model = build("resnet18", ranks=PLAN)
    assert all(isinstance(model.get_submodule(name), Factored) for name in PLAN)
    again = storage.load(storage.save(model, tmp_path / "model.safetensors"))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(images), model(images))
    assert models.describe(again) == models.describe(model)


def test_a_factored_bert_with_fewer_heads_comes_back_too(tmp_path):
    self_attention = "bert.encoder.layer.0.attention.self"
    widths = {f"{QUERY}.second": [3, 8], f"{self_attention}.key": [16, 8], f"{self_attention}.value": [16, 8]}
    widths["bert.encoder.layer.0.attention.output.dense"] = [8, 16]
    model = build("bert", **BERT, ranks={QUERY: ["svd", 3], WORDS: ["embedding", 5]}, widths=widths)
    assert model.bert.encoder.layer[0].attention.self.num_attention_heads == 2
    tokens = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    again = storage.load(storage.save(model, tmp_path / "model.safetensors"))
    assert torch.equal(again(**tokens).logits, model(**tokens).logits)


def test_a_factored_model_runs_on_onnx_runtime():
    images = torch.randn(1, 3, 32, 32)
    model = build("resnet18", ranks=PLAN)
    with profiling.onnx(model, images, threads=1) as runner:  # it compares the logits itself
        assert runner().shape == (1, 10)


@pytest.mark.parametrize("kind", ["svd", "tucker", "cp"])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": (2, 1)}])
def test_factors_give_the_shape_of_the_layer(kind, options):
    layer = nn.Conv2d(6, 9, (3, 5), **options)
    images = torch.randn(2, 6, 14, 15)
    ranks = [4, 5] if kind == "tucker" else [4]
    chain = factored(layer, kind, ranks)
    assert chain(images).shape == layer(images).shape
    assert (chain.in_features, chain.out_features) == (6, 9)
    assert chain[-1].bias is not None and all(factor.bias is None for factor in chain[:-1])


@pytest.mark.parametrize(
    ("layer", "kind", "ranks", "problem"),
    [
        (nn.Linear(4, 6), "svd", [5], "from 1 to 4"),
        (nn.Linear(4, 6), "svd", [0], "from 1 to 4"),
        (nn.Linear(4, 6), "svd", [True], "whole number"),
        (nn.Linear(4, 6), "svd", [2, 2], "must be 1 whole numbers"),
        (nn.Linear(4, 6), "tucker", [2, 2], "a layer of kind Linear cannot be factored as 'tucker'"),
        (nn.Conv2d(4, 6, 3), "tucker", [5, 2], "from 1 to 4"),
        (nn.Conv2d(4, 6, 1), "tucker", [2, 2], "1×1 convolution is a matrix"),
        (nn.Conv2d(4, 8, 3, groups=4), "svd", [2], "4 groups"),
        (nn.Conv2d(4, 8, 3, padding="same"), "svd", [2], "padding must be numbers"),
        (nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), "tucker", [2, 2], "padding must be numbers"),
        (nn.Embedding(9, 4), "svd", [2], "a layer of kind Embedding"),
        (nn.ReLU(), "svd", [2], "a layer of kind ReLU"),
        (nn.Linear(4, 6), "qr", [2], "kind must be one of"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(layer, kind, ranks, problem):
    with pytest.raises(ValueError, match=problem):
        factored(layer, kind, ranks)


def test_the_largest_ranks_are_those_of_the_unfolded_weight():
    assert largest_ranks(nn.Conv2d(2, 30, 3), "svd") == (18,)
    assert largest_ranks(nn.Conv2d(2, 30, 3), "tucker") == (2, 30)
    assert largest_ranks(nn.Embedding(9, 4), "embedding") == (4,)


@pytest.mark.parametrize(
    ("ranks", "problem"),
    [
        ({"nowhere": ["svd", 2]}, "not a layer"),
        ({"fc": ["svd", 11]}, "from 1 to 10"),
        ({"fc": ["svd", "2"]}, "whole number"),
        ({"fc": 3}, "cannot be built"),
        ({"fc": []}, "cannot be built"),
        ([["fc"]], "cannot be built"),
        ({"bn1": ["svd", 2]}, "BatchNorm2d"),
        ({"fc": ["svd", 3]}, "misses|unexpected"),
    ],
)
def test_a_description_that_was_made_up_is_refused(ranks, problem):
    shapes = {name: tuple(tensor.shape) for name, tensor in build("resnet18").state_dict().items()}
    with pytest.raises(FormatError, match=problem):
        check_architecture({"builder": "resnet18", "arguments": {"ranks": ranks}}, shapes)
