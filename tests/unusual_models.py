"""Models that an engineer may bring, and that compression libraries are known to get wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.data import Split

IMAGES = (8, 3, 12, 12)


def random_images(seed: int = 0) -> Tensor:
    return torch.randn(IMAGES, generator=torch.Generator().manual_seed(seed))


def image_split(name: str = "train") -> Split:
    images = random_images(len(name))
    return Split("noise", name, images, torch.arange(len(images)) % 2, ("a", "b"))


def token_split(vocabulary: int = 64, name: str = "train") -> Split:
    """Sentences of 6 and 10 tokens, the shorter ones padded with 1 at the end."""
    tokens = torch.randint(3, vocabulary, (12, 10), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[6:, 6:] = 0
    tokens[mask == 0] = 1
    inputs = {"input_ids": tokens, "attention_mask": mask}
    return Split("noise", name, inputs, torch.arange(12) % 2, ("a", "b"))


def tiny_causal_lm(model_type: str = "gpt2", layers: int = 2, **config: Any) -> nn.Module:
    """A random language model of 64 tokens, 32 wide."""
    names = {
        "gpt2": {"n_embd": 32, "n_layer": layers, "n_head": 2, "n_positions": 32},
        "opt": {
            "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "ffn_dim": 64,
            "max_position_embeddings": 32, "word_embed_proj_dim": 32,
        },
        "llama": {
            "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64,
            "max_position_embeddings": 32,
        },
    }[model_type]  # fmt: skip
    special = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    torch.manual_seed(0)
    arguments = {"model_type": model_type, "vocab_size": 64, **special, **names, **config}
    return models.build({"builder": "causal_lm", "arguments": arguments})


class SharedConvolution(nn.Module):
    """One convolution that is called twice, with a BatchNorm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.shared = nn.Conv2d(6, 6, 3, padding=1)
        self.first, self.second, self.relu = nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.ReLU()
        self.head = nn.Linear(6, 2)
        with torch.no_grad():
            for norm, scale in ((self.first, 0.5), (self.second, 3.0)):
                norm.running_mean -= scale
                norm.weight *= scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(self.shared(self.relu(self.stem(x)))))
        return self.head(self.relu(self.second(self.shared(x))).mean(dim=(2, 3)))


class OneDimensional(nn.Module):
    """``Conv1d``, ``ConvTranspose1d`` and a linear layer over a sequence of 12 values."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(3, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose1d(8, 4, 4, stride=2, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.down(x.mean(dim=3)).relu()).mean(dim=2))


class WithAttention(nn.Module):
    """``nn.MultiheadAttention`` between linear layers, over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(36, 16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.embed(x.movedim(1, 2).flatten(2))
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0].mean(dim=1))


class WithRecurrence(nn.Module):
    """A linear layer and an LSTM over the rows of an image, and a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(36, 20)
        self.recurrent = nn.LSTM(20, 16, batch_first=True)
        self.bilinear = nn.Bilinear(16, 36, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.movedim(1, 2).flatten(2)
        return self.bilinear(self.recurrent(self.embed(rows))[0][:, -1], rows[:, 0])


class ByKeyword(nn.Module):
    """Layers that are called as ``layer(input=x)``."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(432, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(input=self.first(input=x.flatten(1)).relu())


def recomputed_models() -> dict[str, nn.Module]:
    """What recomputes the weight of layer ``0`` → a model with such a layer."""

    def network() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2)).eval()

    from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    made = {name: network() for name in ("weight_norm", "new weight_norm", "parametrize", "prune", "spectral_norm")}
    weight_norm(made["weight_norm"][0])  # deprecated, and still in many models
    parametrizations.weight_norm(made["new weight_norm"][0])
    parametrize.register_parametrization(made["parametrize"][0], "weight", Doubled())
    prune.l1_unstructured(made["prune"][0], "weight", 0.5)
    nn.utils.spectral_norm(made["spectral_norm"][0])
    return made
