"""A small network and a split for panels that quantize."""

import torch
from torch import nn

from course_lib.data import Split


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 12), nn.ReLU(), nn.Linear(12, 5))


def pictures(name="validation"):
    return Split("made up", name, torch.randn(20, 3, 8, 8), torch.zeros(20).long(), ("a",))
