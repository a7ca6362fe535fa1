"""Small models and splits of the room."""

from __future__ import annotations

import pytest
import torch

from course_lib import quantization
from course_lib.data import Split
from tests.toys import small_convolutional


@pytest.fixture(scope="session")
def folded():
    """A small residual net with its BatchNorm folded."""
    return quantization.fold_batchnorm(small_convolutional())


def images(name="train", size=48):
    """Random pictures; their labels are wrong on purpose, nothing here reads them."""
    generator = torch.Generator().manual_seed(len(name))
    pictures = torch.randint(0, 256, (size, 12, 12), generator=generator, dtype=torch.uint8)
    return Split("noise", name, pictures, torch.zeros(size, dtype=torch.int64), tuple("abcdefghij"))


@pytest.fixture(scope="session")
def train():
    return images()
