"""Multi-objective search: NSGA-II of optuna, for the whole front of accuracy and cost at once."""

from __future__ import annotations

from typing import Any

from course_lib.core.validation import check_choice, check_positive
from course_lib.search.evolution import Score
from course_lib.search.limits import NAMES, Limits, metrics
from course_lib.search.ranking import pareto_front
from course_lib.search.space import SearchSpace, Subnet


def nsga2(
    space: SearchSpace,
    score: Score,
    limits: Limits,
    *,
    objective: str = "macs",
    evaluations: int = 500,
    population: int = 50,
    seed: int = 0,
) -> list[tuple[Subnet, float, float]]:
    """The Pareto front of score and one cost, among subnets within ``limits``.

    Args:
        objective: cost to be small; one of ``limits.NAMES`` (``latency_ms`` needs the table of ``limits``).
        evaluations: subnets that are scored.

    Returns:
        (subnet, score, cost) of each, by growing cost; no other scored subnet within the limits is better in both.

    Raises:
        ValueError: if ``objective`` is unknown, or no subnet keeps a limit.

    Source: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002.
    """
    check_choice("objective", objective, NAMES)
    check_positive("evaluations", evaluations)
    if objective not in metrics(limits.latency):
        raise ValueError(f"objective {objective} needs limits with a LatencyTable")
    limits.check_reachable(space)
    cost = metrics(limits.latency)[objective]
    scored: dict[Subnet, tuple[float, float]] = {}

    def evaluate(trial: Any) -> tuple[float, float]:
        subnet = space.subnet(_suggested(space, trial))
        trial.set_constraint("limits", limits.violation(subnet))
        if subnet not in scored:
            scored[subnet] = float(score([subnet])[0]), float(cost(subnet))
        return scored[subnet]

    _study(population, seed).optimize(evaluate, n_trials=evaluations)
    kept = sorted((row for row in scored.items() if limits.kept(row[0])), key=lambda row: (row[1][1], -row[1][0]))
    front = pareto_front([(-value, spent) for _, (value, spent) in kept])
    return [(kept[i][0], *kept[i][1]) for i in front]


def _suggested(space: SearchSpace, trial: Any) -> list[int]:
    """A number for each gene."""
    names = zip(space.gene_names, space.choices, strict=True)
    return [trial.suggest_int(name, 0, len(choices) - 1) for name, choices in names]


def _study(population: int, seed: int) -> Any:
    """A study that maximises the first value and minimises the second, within the limits."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
