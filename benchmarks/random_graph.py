"""Random small graphs: modules whose forward pass is drawn from a seed, and what they compute.

A graph has branches that are added, multiplied and concatenated, layers that are used twice, grouped and depthwise
convolutions, norms before and after them, pooling, several answers, and containers within containers.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.data import Split

SIDE, EXAMPLES = 8, 4
WIDTHS = (4, 6, 8)


class RandomGraph(nn.Module):
    """A network that is drawn from ``seed``: it computes the same whenever it is made again.

    Args:
        seed: of the structure; weights are drawn by ``random_graph``.
        steps: how many operations follow each other.
        nested: whether the answers are a dict with a list, and not one tensor.
    """

    def __init__(self, seed: int, steps: int = 7, nested: bool = False) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.stem = nn.ModuleDict({"first": nn.Sequential(nn.Conv2d(3, draw.choice(WIDTHS), 3, padding=1))})
        self.layers = nn.ModuleList()
        self.program: list[tuple[Any, ...]] = []
        channels = [self.stem["first"][0].out_channels]
        for _ in range(steps):
            channels.append(self._draw_step(draw, channels))
        self.norm = nn.BatchNorm1d(channels[-1]) if draw.random() < 0.3 else nn.Identity()
        self.pool, pixels = draw.choice([("mean", 1), ("flatten", 4), ("adaptive", 1)])
        self.heads = nn.ModuleList([nn.Linear(channels[-1] * pixels, 5), nn.Linear(channels[-1] * pixels, 5)])
        if pixels > 1:
            self.norm = nn.Identity()
        self.nested = nested

    def _layer(self, layer: nn.Module) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def _draw_step(self, draw: random.Random, channels: list[int]) -> int:
        """Append one operation to the program; the number of channels that it gives."""
        last, width = len(channels) - 1, channels[-1]
        same = [index for index, count in enumerate(channels) if count == width]
        kind = draw.choice(
            ["conv", "conv", "conv", "block", "block", "depthwise", "grouped", "norm", "activation", "add", "add",
             "mul", "cat", "cat", "again", "pool", "scale", "shuffle", "gate"]
        )  # fmt: skip
        if kind in ("add", "mul"):
            self.program.append((kind, last, draw.choice(same)))
            return width
        if kind == "cat" and width <= 16:
            other = draw.randrange(len(channels))
            self.program.append(("cat", draw.choice([(last, other), (other, last), (last, last)])))
            return sum(channels[index] for index in self.program[-1][1])
        made = [step[2] for step in self.program if step[0] == "layer" and step[3] == step[4] == width]
        if kind == "again" and made:
            self.program.append(("layer", last, draw.choice(made), width, width))
            return width
        if kind in ("activation", "pool", "scale", "shuffle"):
            self.program.append((kind, last, draw.randrange(4)))
            return width
        return self._draw_layer(draw, kind, last, width)

    def _draw_layer(self, draw: random.Random, kind: str, last: int, width: int) -> int:
        out = draw.choice(WIDTHS)
        if kind == "norm":
            layer, out = nn.BatchNorm2d(width), width
        elif kind == "depthwise":
            layer, out = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=draw.random() < 0.5), width
        elif kind == "grouped" and width % 2 == 0:
            layer = nn.Conv2d(width, out, 3, padding=1, groups=2)
        elif kind == "block":
            conv = nn.Conv2d(width, out, draw.choice([1, 3]), padding="same", bias=draw.random() < 0.5)
            layer = nn.Sequential(conv, nn.BatchNorm2d(out), draw.choice([nn.ReLU, nn.SiLU, nn.Hardswish])())
        elif kind == "gate":  # squeeze and excitation
            inner = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1), nn.Sigmoid()]
            self.program.append(("gate", last, self._layer(nn.Sequential(*inner))))
            return width
        else:
            layer = nn.Conv2d(width, out, draw.choice([1, 3]), padding="same")
        self.program.append(("layer", last, self._layer(layer), width, out))
        return out

    def forward(self, x: Tensor) -> Any:
        """Images ``(B, 3, 8, 8)`` → logits ``(B, 5)``, or a dict that holds two of them."""
        values = [self.stem["first"](x)]
        for step in self.program:
            values.append(self._run(step, values))
        value = values[-1]
        if self.pool == "mean":
            value = value.mean(dim=(2, 3))
        else:
            value = nn.functional.adaptive_avg_pool2d(value, 2 if self.pool == "flatten" else 1).flatten(1)
        value = self.norm(value)
        if self.nested:
            return {"logits": self.heads[0](value), "more": [(self.heads[1](input=value),)]}
        return torch.add(self.heads[0](value), other=self.heads[1](value))

    def _run(self, step: tuple[Any, ...], values: list[Tensor]) -> Tensor:
        kind = step[0]
        if kind == "cat":
            return torch.cat([values[index] for index in step[1]], dim=1)
        value = values[step[1]]
        if kind == "layer":
            return self.layers[step[2]](value)
        if kind == "gate":
            return value * self.layers[step[2]](value)
        if kind == "add":
            return torch.add(value, other=values[step[2]])
        if kind == "mul":
            return value * torch.sigmoid(values[step[2]])
        if kind == "activation":
            return [torch.relu, torch.tanh, nn.functional.gelu, nn.functional.hardsigmoid][step[2]](value)
        if kind == "pool":
            return nn.functional.avg_pool2d(value, 3, 1, 1) if step[2] % 2 else nn.functional.max_pool2d(value, 3, 1, 1)
        if kind == "scale":
            return [value + 0.5, value * 0.7, 1.0 - value, value / 1.3][step[2]]
        return value.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


models.builder("random_graph")(RandomGraph)


class Logits(nn.Module):
    """The answers of a graph as one tensor, for comparisons."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: Tensor) -> Tensor:
        """All answers side by side."""
        return logits(self.graph, x)


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """The answers of a graph, side by side if there are several."""
    with torch.no_grad():
        answers = model(images)
    return torch.cat([answers["logits"], answers["more"][0][0]], dim=1) if isinstance(answers, dict) else answers


def random_graph(seed: int, nested: bool = False) -> nn.Module:
    """The graph of this seed with random weights and statistics, in eval mode."""
    torch.manual_seed(seed)
    model = models.build(
        {"builder": "random_graph", "arguments": {"seed": seed, "steps": 5 + seed % 5, "nested": nested}}
    )
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 2)
    return model


def images(seed: int = 0) -> Tensor:
    """Random images ``(4, 3, 8, 8)``."""
    return torch.randn(EXAMPLES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def split() -> Split:
    """The images as a train split."""
    return Split("random", "train", images(), torch.arange(EXAMPLES), tuple("abcde"))
