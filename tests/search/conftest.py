"""A small space, a supernet with random weights, and a latency table without measurements."""

from __future__ import annotations

import random

import pytest
import torch

from course_lib import models, search


@pytest.fixture(scope="session")
def space():
    return search.RESNET18_SPACE


@pytest.fixture(scope="session")
def supernet(space):
    torch.manual_seed(0)
    net = models.build(search.architecture(space.largest))
    for name, buffer in net.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    return search.Supernet(net).eval()


@pytest.fixture
def subnets(space):
    generator = random.Random(1)
    return [space.smallest, space.largest, *(space.sample(generator) for _ in range(6))]


@pytest.fixture(scope="session")
def table(space):
    """Milliseconds made up from the work of each part: no test of the search depends on this machine."""
    cost = {part: 0.01 + part.inputs * max(part.inner, 1) * part.size**2 / 1e8 for part in search.all_parts(space)}
    return search.LatencyTable(cost)


@pytest.fixture(scope="session")
def score():
    """A made-up accuracy that grows with the work, with a preference among nets of equal work."""

    def accuracy(subnets):
        return [search.macs(s) ** 0.1 + 0.02 * s.depths[2] - 0.01 * s.depths[0] for s in subnets]

    return accuracy
