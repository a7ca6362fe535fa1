"""Random and evolutionary search for the best subnet within limits."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from course_lib.core.validation import check_fraction, check_positive
from course_lib.search.limits import TRIES, Limits, repaired, sample_within
from course_lib.search.space import SearchSpace, Subnet

IDLE_GENERATIONS = 5
"""A search ends early after this many generations without a new subnet."""

Score = Callable[[Sequence[Subnet]], Any]
"""Estimated quality of subnets, higher is better: an ``AccuracyPredictor``, or a measurement."""


@dataclass
class SearchResult:
    """What a search found.

    Args:
        best: the best subnet that keeps the limits.
        score: its score.
        history: the best score after each evaluation.
        evaluated: every subnet that was scored, with its score.
    """

    best: Subnet
    score: float
    history: list[float] = field(repr=False)
    evaluated: dict[Subnet, float] = field(repr=False)


class Evaluations:
    """Scores of the subnets of one search; each different subnet counts once."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self.known: dict[Subnet, float] = {}
        self.history: list[float] = []

    def add(self, subnets: Sequence[Subnet]) -> None:
        """Score the subnets that are new."""
        new = [subnet for subnet in dict.fromkeys(subnets) if subnet not in self.known]
        for subnet, value in zip(new, self.score(new) if new else (), strict=True):
            self.known[subnet] = float(value)
            self.history.append(max(float(value), self.history[-1] if self.history else -numpy.inf))

    def result(self) -> SearchResult:
        """The best so far; among equals the first."""
        best = max(self.known, key=lambda subnet: self.known[subnet])
        return SearchResult(best, self.known[best], self.history, self.known)


def random_search(
    space: SearchSpace, score: Score, limits: Limits, *, evaluations: int = 1000, seed: int = 0
) -> SearchResult:
    """The best of ``evaluations`` random subnets within ``limits``.

    Raises:
        ValueError: if no subnet keeps a limit (see ``Limits.check_reachable``), or ``evaluations`` is not positive.

    Source: Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search, 2019.
    """
    check_positive("evaluations", evaluations)
    limits.check_reachable(space)
    generator, found = random.Random(seed), Evaluations(score)
    found.add(new_samples(space, limits, generator, evaluations))
    return found.result()


def evolutionary_search(
    space: SearchSpace,
    score: Score,
    limits: Limits,
    *,
    evaluations: int = 1000,
    population: int = 50,
    parents: int = 12,
    mutation: float = 0.1,
    seed: int = 0,
) -> SearchResult:
    """Evolve subnets within ``limits`` for ``evaluations`` scores in all.

    The first generation is random. Each further one has ``population`` children of the ``parents`` best subnets so far.

    Args:
        mutation: probability with which each gene of a child is changed.

    Raises:
        ValueError: as ``random_search``, or if ``parents`` is not at most ``population``.

    Source: Real et al., Regularized Evolution for Image Classifier Architecture Search, 2018; Cai et al.,
    Once-for-All, 2019 (mutation and crossover on the genes of a supernet).
    """
    for name, value in {"evaluations": evaluations, "population": population, "parents": parents}.items():
        check_positive(name, value)
    check_fraction("mutation", mutation, below_one=False)
    if parents > population:
        raise ValueError(f"parents must be at most population = {population}, got {parents}")
    limits.check_reachable(space)
    generator, found = random.Random(seed), Evaluations(score)
    found.add(new_samples(space, limits, generator, min(population, evaluations)))
    idle = 0
    while len(found.known) < evaluations and idle < IDLE_GENERATIONS:
        before = len(found.known)
        best = sorted(found.known, key=lambda subnet: -found.known[subnet])[:parents]
        children = [child(space, best, limits, mutation, generator) for _ in range(population)]
        found.add(children[: evaluations - before])
        idle = idle + 1 if len(found.known) == before else 0
    return found.result()


def child(
    space: SearchSpace, parents: Sequence[Subnet], limits: Limits, mutation: float, generator: random.Random
) -> Subnet:
    """One child of ``parents`` within ``limits``: a mutated parent, or the mutated cross of two, with equal chances.

    A child outside the limits is drawn again; the last of 100 is repaired by lowering random genes.
    """
    for _ in range(TRIES):
        first, second = generator.choice(parents), generator.choice(parents)
        start = first if generator.random() < 0.5 else space.crossover(first, second, generator)
        result = space.mutate(start, mutation, generator)
        if limits.kept(result):
            return result
    return repaired(space, result, limits, generator)


def new_samples(space: SearchSpace, limits: Limits, generator: random.Random, count: int) -> list[Subnet]:
    """Up to ``count`` different random subnets within ``limits``; fewer if there are hardly more."""
    found: dict[Subnet, None] = {}
    repeated = 0
    while len(found) < count and repeated < TRIES:
        before = len(found)
        found[sample_within(space, limits, generator)] = None
        repeated = repeated + 1 if len(found) == before else 0
    return list(found)


def evolution_step(scored: Sequence[tuple[Subnet, float, float]], count: int) -> list[Subnet]:
    """Survivors of one generation: the ``count`` best under constraint handling.

    Subnets within the limits come first, by falling score; then the others, by growing violation.

    Args:
        scored: (subnet, score, violation of the limits) of each; ties keep their order.

    Source: Deb, An Efficient Constraint Handling Method for Genetic Algorithms, 2000.
    """
    check_positive("count", count)
    order = sorted(scored, key=lambda row: (row[2] > 0, row[2] if row[2] > 0 else -row[1]))
    return [subnet for subnet, _, _ in order[:count]]
