"""Small models with the parts that matter: convolutions with BatchNorm, a residual connection, a linear layer."""

import pytest
import torch
from torch import nn

from course_lib import models
from course_lib.data import Split


class Block(nn.Module):
    """A residual block, as in ResNet: the same ReLU twice."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inner + x)


class Small(nn.Module):
    def __init__(self, classes=10, channels=8):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.block = Block(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc(self.block(self.relu(self.bn(self.conv(x)))).mean(dim=(2, 3)))


models.builder("small_convolutional")(Small)


def images(name="validation", count=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(256, (count, 12, 12), generator=generator).to(torch.uint8)
    labels = torch.randint(10, (count,), generator=generator)
    return Split("made up", name, pictures, labels, tuple("0123456789"))


@pytest.fixture
def split():
    return images()


@pytest.fixture
def small():
    """With norms that do something, and channels of different sizes."""
    torch.manual_seed(0)
    model = models.build({"builder": "small_convolutional", "arguments": {"classes": 10}})
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.3, 3).mul_(torch.tensor([-1.0, *[1.0] * 7]))
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.2, 2)
    return model
