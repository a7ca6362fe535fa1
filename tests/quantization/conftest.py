"""Small models with the parts that matter: convolutions with BatchNorm, a residual connection, a linear layer."""

import pytest
import torch

from course_lib.data import Split
from tests.toys import small_convolutional


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
    return small_convolutional()
