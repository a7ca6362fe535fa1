"""A tiny model, and tiny data in place of every data set."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from course_lib import data
from course_lib.data import FASHION_CLASSES, SENTIMENT_CLASSES, Split, Splits

TINY_BERT = {
    "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 64, "num_labels": 2,
}  # fmt: skip


@pytest.fixture
def tiny_bert():
    """The description of a BERT with one layer of width 16."""
    return {"builder": "bert", "arguments": dict(TINY_BERT)}


@pytest.fixture
def tiny_data(monkeypatch):
    """Every data set has four examples of its own kind."""

    def load(name, **_):
        if name == "sentiment":
            tokens = torch.ones(4, 5, dtype=torch.long)
            inputs, classes, texts = {"input_ids": tokens, "attention_mask": tokens}, SENTIMENT_CLASSES, ("good",) * 4
        else:
            shape = (4, 28, 28) if name == "fashion_mnist" else (4, 3, 40, 40)
            inputs, classes, texts = torch.zeros(shape, dtype=torch.uint8), FASHION_CLASSES, ()
        part = Split(name, "train", inputs, torch.arange(4) % 2, classes, texts)
        return Splits(part, replace(part, name="validation"), replace(part, name="test"))

    monkeypatch.setattr(data, "load", load)
