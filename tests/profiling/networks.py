"""Small networks that the measurements are tested with."""

from __future__ import annotations

import torch
from torch import nn

from course_lib import models

TINY_BERT = {
    "vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 12,
}  # fmt: skip
TOKENS = {
    "input_ids": torch.arange(16).reshape(2, 8),
    "attention_mask": torch.tensor([[1] * 8, [1] * 5 + [0] * 3]),
}


def mlp(*sizes):
    return models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})


def bert(num_hidden_layers=2, **changes):
    torch.manual_seed(0)
    return models.build(
        {"builder": "bert", "arguments": {**TINY_BERT, "num_hidden_layers": num_hidden_layers, **changes}}
    )


class SmallNet(nn.Module):
    """A convolution, a norm, and one linear layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        x = self.norm(self.conv(x)).mean(dim=(2, 3))
        return self.fc(self.fc(x))
