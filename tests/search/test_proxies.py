"""Zero-cost proxies by hand on small nets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from course_lib import models, search


def test_synflow_of_a_chain_of_products():
    net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False))
    net[0].weight.data = torch.tensor([[2.0, -3.0]])
    net[1].weight.data = torch.tensor([[-5.0]])
    flow = 2 * 5 + 3 * 5 + 5 * (2 + 3)  # |θ ∂R/∂θ| of the three weights, with R = (2 + 3) · 5
    assert search.synflow(net, torch.randn(4, 2)) == pytest.approx(math.log(flow))
    assert net[1].weight.item() == -5.0


def test_jacob_cov_is_high_for_gradients_that_differ_and_low_for_equal_ones():
    images = torch.randn(6, 8)
    linear = nn.Linear(8, 3)  # the gradient is the same for every image
    torch.manual_seed(0)
    bent = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    assert search.jacob_cov(bent, images) > search.jacob_cov(linear, images)
    with pytest.raises(ValueError, match="images must be at least 2"):
        search.jacob_cov(bent, images[:1])


def test_every_proxy_scores_an_untrained_subnet_and_leaves_it(space):
    images = torch.randn(4, 3, 56, 56)
    torch.manual_seed(0)
    nets = [models.build(search.architecture(subnet)) for subnet in (space.smallest, space.largest)]
    before = nets[0].conv1.weight.detach().clone()
    for proxy in search.PROXIES.values():
        values = [proxy(net, images) for net in nets]
        assert all(map(math.isfinite, values))
    assert search.synflow(nets[1], images) > search.synflow(nets[0], images)
    assert torch.equal(nets[0].conv1.weight, before) and not nets[0].training
