"""Formulas of work, file and memory, against what is counted and measured."""

from __future__ import annotations

import pytest
import torch

from course_lib import models, profiling, search, storage


def test_macs_and_parameters_are_those_that_are_counted(subnets):
    images = torch.zeros(1, 3, 56, 56)
    for subnet in subnets:
        net = models.build(search.architecture(subnet))
        assert search.macs(subnet) == profiling.count_macs(net, images)
        assert search.parameters(subnet) == profiling.count_parameters(net)


def test_stored_bytes_are_those_of_the_file(subnets, tmp_path):
    for subnet in subnets:
        net = models.build(search.architecture(subnet))
        size = storage.save(net, tmp_path / "net.safetensors", dtype="fp16").stat().st_size
        assert search.stored_bytes(subnet) == pytest.approx(size, rel=0.02)


def test_peak_memory_is_within_ten_percent_of_what_is_measured(subnets):
    for subnet in subnets:
        net = models.build(search.architecture(subnet, resized=False))
        image = torch.zeros(1, 3, subnet.resolution, subnet.resolution)
        measured = search.measured_activation_bytes(net, image)
        assert search.peak_activation_bytes(subnet) == pytest.approx(measured, rel=0.1)


def test_the_measured_peak_counts_what_lives_at_the_same_time():
    layers = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), torch.nn.Conv2d(4, 2, 1))
    image = torch.zeros(1, 1, 8, 8)
    assert search.measured_activation_bytes(layers, image) == 4 * 64 * (1 + 4 + 2)


def test_costs_grow_with_every_gene(space):
    for subnet in (space.smallest, space.largest):
        for other in search.neighbours(space, subnet):
            grows = sum(space.genes(other)) > sum(space.genes(subnet))
            for cost in (search.macs, search.stored_bytes, search.peak_activation_bytes):
                assert cost(other) >= cost(subnet) if grows else cost(other) <= cost(subnet)
