"""Perplexity, greedy completion, and the shipped tiny Llama."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from course_lib import assets, models
from course_lib.data import text_windows
from course_lib.training import language_modeling


@pytest.fixture(scope="module")
def splits():
    return text_windows.load()


class Uniform(nn.Module):
    """Every token is equally likely."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, input_ids):
        return self.logits.expand(*input_ids.shape, -1)


def test_a_model_that_guesses_evenly_has_the_perplexity_of_its_vocabulary(splits):
    assert language_modeling.perplexity(Uniform(1024), splits.test.subset(5)) == pytest.approx(1024, rel=1e-4)


def test_perplexity_counts_every_token_but_the_first_of_each_window(splits):
    torch.manual_seed(0)
    model, part = Uniform(1024), splits.validation.subset(7)
    model.logits.data = torch.randn(1024)
    tokens = part.inputs["input_ids"][:, 1:].flatten()
    expected = math.exp(-model.logits.log_softmax(0)[tokens].mean().item())
    assert language_modeling.perplexity(model, part, batch_size=3) == pytest.approx(expected, rel=1e-4)


def test_an_empty_split_is_refused(splits):
    nothing = text_windows.domain(text_windows.domain(splits.test, "movies"), "tweets")
    with pytest.raises(ValueError, match="is empty"):
        language_modeling.perplexity(Uniform(1024), nothing)


def test_the_shipped_model_is_small_and_reaches_its_card(splits):
    model = models.load("tiny_llama")
    assert sum(weight.numel() for weight in model.parameters()) <= 5_000_000
    card = json.loads((assets.FOLDER / "cards" / "tiny_llama_training.json").read_text(encoding="utf-8"))
    measured = {row["split"]: row["perplexity"] for row in card["measured"]}
    assert language_modeling.perplexity(model, splits.validation) == pytest.approx(measured["validation"], rel=1e-3)
    assert measured["test"] < 1024 / 10
    assert language_modeling.complete(model, "This movie is", 3).startswith("This movie is")
