"""Limits that a searched net must keep: work, file, memory and latency."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from course_lib.core.formatting import compact
from course_lib.core.validation import check_choice, check_positive
from course_lib.search import footprint
from course_lib.search.latency import LatencyTable
from course_lib.search.space import SearchSpace, Subnet

Metric = Callable[[Subnet], float]
COUNTED: dict[str, Metric] = {
    "macs": footprint.macs,
    "stored_bytes": footprint.stored_bytes,
    "peak_activation_bytes": footprint.peak_activation_bytes,
}
NAMES = (*COUNTED, "latency_ms")
TRIES = 100


def metrics(latency: LatencyTable | None = None) -> dict[str, Metric]:
    """Name → function that gives the cost of a subnet; ``latency_ms`` needs a table."""
    return COUNTED if latency is None else COUNTED | {"latency_ms": latency}


@dataclass(frozen=True)
class Limits:
    """Upper limits of costs, by name.

    Args:
        at_most: any of ``macs``, ``stored_bytes``, ``peak_activation_bytes`` and ``latency_ms`` → largest value.
        latency: needed for ``latency_ms``.

    Raises:
        ValueError: if a name is unknown (the message lists the known ones), a value is not positive, or a limit of
            latency is given without a table.
    """

    at_most: Mapping[str, float]
    latency: LatencyTable | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.at_most.items():
            check_choice("at_most", name, NAMES)
            check_positive(name, value)
        if "latency_ms" in self.at_most and self.latency is None:
            raise ValueError("a limit of latency_ms needs latency, a LatencyTable of this machine; got None")

    def costs(self, subnet: Subnet) -> dict[str, float]:
        """The costs of ``subnet`` that are limited."""
        known = metrics(self.latency)
        return {name: known[name](subnet) for name in self.at_most}

    def violation(self, subnet: Subnet) -> float:
        """Sum over the limits of the excess relative to the limit; 0 if all are kept."""
        costs = self.costs(subnet)
        return sum(max(0.0, costs[name] / limit - 1) for name, limit in self.at_most.items())

    def kept(self, subnet: Subnet) -> bool:
        """Whether all limits are kept."""
        known = metrics(self.latency)
        return all(known[name](subnet) <= limit for name, limit in self.at_most.items())

    def check_reachable(self, space: SearchSpace) -> None:
        """Refuse limits that no subnet keeps.

        Counted costs grow with every gene, so the smallest subnet has the lowest. The lowest latency is searched by
        changing one gene at a time.

        Raises:
            ValueError: names the limit and the nearest value that is reachable.
        """
        for name, limit in self.at_most.items():
            lowest = metrics(self.latency)[name](least_costly(space, metrics(self.latency)[name]))
            if lowest > limit:
                raise ValueError(
                    f"{name} must be at least {_exact(lowest)} in this search space (the nearest reachable value), "
                    f"got a limit of {_exact(limit)}"
                )


def least_costly(space: SearchSpace, metric: Metric) -> Subnet:
    """The subnet with the lowest cost that is reached from the smallest by changing one gene at a time."""
    best, cost = space.smallest, metric(space.smallest)
    improved = True
    while improved:
        improved = False
        for other in neighbours(space, best):
            if (new := metric(other)) < cost:
                best, cost, improved = other, new, True
    return best


def neighbours(space: SearchSpace, subnet: Subnet) -> list[Subnet]:
    """All subnets that differ in one gene by one step."""
    genes = space.genes(subnet)
    result = []
    for i, choices in enumerate(space.choices):
        for number in (genes[i] - 1, genes[i] + 1):
            if 0 <= number < len(choices):
                result.append(space.subnet([*genes[:i], number, *genes[i + 1 :]]))
    return result


def sample_within(space: SearchSpace, limits: Limits, generator: random.Random) -> Subnet:
    """A random subnet that keeps ``limits``, drawn uniformly from those that do.

    If none of 100 draws keeps them, random genes of the last one are lowered until it does.
    """
    for _ in range(TRIES):
        subnet = space.sample(generator)
        if limits.kept(subnet):
            return subnet
    return repaired(space, subnet, limits, generator)


def repaired(space: SearchSpace, subnet: Subnet, limits: Limits, generator: random.Random) -> Subnet:
    """``subnet`` with random genes lowered, one step at a time, until it keeps ``limits``.

    Raises:
        ValueError: if even the smallest subnet does not keep them.
    """
    genes = list(space.genes(subnet))
    while not limits.kept(space.subnet(genes)):
        above = [i for i, gene in enumerate(genes) if gene > 0]
        if not above:
            raise ValueError(f"no subnet keeps all limits together: {dict(limits.at_most)}")
        genes[generator.choice(above)] -= 1
    return space.subnet(genes)


def _exact(value: float) -> str:
    return compact(value) if value >= 10_000 else f"{value:.4g}"
