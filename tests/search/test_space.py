"""The space: genes, sampling, and the plain net of each subnet."""

from __future__ import annotations

import random

import pytest

from course_lib import models, search
from course_lib.profiling import count_parameters


def test_the_space_is_as_large_as_it_says_and_no_two_subnets_have_equal_layers(space):
    assert space.size >= 100_000
    generator = random.Random(0)
    drawn = {space.sample(generator) for _ in range(3000)}
    shapes = {(s.resolution, str(search.layer_widths(s))) for s in drawn}
    assert len(shapes) == len(drawn)


def test_genes_name_a_subnet_and_back(space, subnets):
    for subnet in subnets:
        assert space.subnet(space.genes(subnet)) == subnet
        assert space.one_hot(subnet).sum() == len(space.choices)
    assert len(space.one_hot(space.largest)) == sum(map(len, space.choices))


def test_a_subnet_outside_the_space_names_the_gene(space):
    stranger = search.Subnet(28, (1, 1, 1, 3), (16, 24, 48, 96), (1.0,) * 4)
    with pytest.raises(ValueError, match="depth 4 must be among 1, 2; got 3"):
        space.genes(stranger)


def test_a_mutation_changes_at_least_one_gene_and_a_cross_takes_each_gene_from_a_parent(space):
    generator = random.Random(0)
    for probability in (0.0, 0.1, 1.0):
        parent = space.sample(generator)
        other = space.mutate(parent, probability, generator)
        changed = sum(a != b for a, b in zip(space.genes(parent), space.genes(other), strict=True))
        assert changed == {0.0: 1, 1.0: 13}.get(probability, changed) and changed >= 1
    child = space.crossover(space.smallest, space.largest, generator)
    pairs = zip(space.genes(child), space.choices, strict=True)
    assert all(gene in (0, len(choices) - 1) for gene, choices in pairs)


def test_choices_must_be_sorted_and_given_for_every_stage(space):
    with pytest.raises(ValueError, match="depths must have choices for 4 stages, got 1"):
        search.SearchSpace((28,), ((1,),), space.widths, space.expansions)
    with pytest.raises(ValueError, match="sorted and different"):
        search.SearchSpace((56, 28), space.depths, space.widths, space.expansions)


def test_uniform_scaling_goes_from_narrow_to_the_largest(space):
    nets = list(search.RESNET18_SPACE.uniform_widths())
    assert nets[-1] == space.largest and len(nets) == 6
    assert [search.macs(net) for net in nets] == sorted(search.macs(net) for net in nets)


def test_every_subnet_is_built_from_its_description(subnets):
    for subnet in subnets:
        net = models.build(search.architecture(subnet))
        assert count_parameters(net) == search.parameters(subnet)
