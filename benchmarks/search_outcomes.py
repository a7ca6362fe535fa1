"""What benchmarks/search.py measures of searches: random against evolution, uniform scaling, fine-tuning, cost."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import common
import numpy
import search_parts as parts
import torch
from common import Row
from resuming import evaluated_once, made_once, stop_if_interrupted
from search_parts import SPACE
from search_training import FOLDER, RECIPE

from course_lib import data, models, search, storage, training

SEEDS = 20
SETTINGS: dict[str, tuple[Mapping[str, float], int]] = {
    "tight, 400 evaluations": ({"macs": 2e6, "stored_bytes": 400_000, "peak_activation_bytes": 60_000}, 400),
    "tight, 50 evaluations": ({"macs": 2e6, "stored_bytes": 400_000, "peak_activation_bytes": 60_000}, 50),
    "loose, 400 evaluations": ({"macs": 2e7}, 400),
    "loose, 50 evaluations": ({"macs": 2e7}, 50),
}
UNIFORM_POSITIONS = (0, 2, 4)
FINE_TUNE_EPOCHS, EPOCHS = 1, RECIPE["epochs"]
FINE_TUNE = {"learning_rate": 5e-4, "batch_size": 64, "augment": data.Augmentation(hole=0), "progress": False}
SCRATCH = {**FINE_TUNE, "learning_rate": 2e-3}


def evolution(*_: Any) -> Iterator[Row]:
    """Evolution against random search at the same number of evaluations, for twenty seeds in each setting."""
    predictor = parts.fitted_predictor()
    for name, (at_most, evaluations) in SETTINGS.items():
        limits = search.Limits(at_most)
        options = {"evaluations": evaluations}
        pairs = [
            (
                search.evolutionary_search(SPACE, predictor, limits, seed=seed, **options).score,
                search.random_search(SPACE, predictor, limits, seed=seed, **options).score,
            )
            for seed in range(SEEDS)
        ]
        gains = 100 * (numpy.array(pairs)[:, 0] - numpy.array(pairs)[:, 1])
        low, high = mean_interval(gains)
        yield {
            "setting": name, "limits": dict(at_most), "evaluations": evaluations, "seeds": SEEDS,
            "feasible": feasible_share(limits), "wins": int((gains > 1e-9).sum()), "losses": int((gains < -1e-9).sum()),
            "points": float(gains.mean()), "points_low": low, "points_high": high, "pairs": pairs,
        }  # fmt: skip


def feasible_share(limits: search.Limits, draws: int = 2000) -> float:
    """Share of random subnets that keep the limits."""
    generator = random.Random(0)
    return sum(limits.kept(SPACE.sample(generator)) for _ in range(draws)) / draws


def mean_interval(values: numpy.ndarray, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean, from resampled values."""
    rows = numpy.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    low, high = numpy.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def fine_tuned(subnet: search.Subnet, splits: data.Splits) -> torch.nn.Module:
    """A subnet with inherited weights, trained further; made once."""
    name = "-".join(map(str, SPACE.genes(subnet)))

    def make() -> torch.nn.Module:
        net = parts.calibrated(parts.stored_supernet(), subnet, splits.train)
        history = training.fit(net, splits.train, epochs=FINE_TUNE_EPOCHS, **FINE_TUNE)
        stop_if_interrupted(history)
        return net

    return storage.load(made_once(FOLDER / "tuned" / f"{name}.safetensors", make))


def from_scratch(subnet: search.Subnet, splits: data.Splits) -> torch.nn.Module:
    """The same net from random weights, for as many passes as supernet and fine-tuning together; made once."""
    name = "-".join(map(str, SPACE.genes(subnet)))

    def make() -> torch.nn.Module:
        training.seed_everything(0)
        net = models.build(search.architecture(subnet))
        checkpoint = FOLDER / "scratch" / f"{name}.checkpoint"
        history = training.fit(net, splits.train, epochs=EPOCHS + FINE_TUNE_EPOCHS, checkpoint=checkpoint, **SCRATCH)
        stop_if_interrupted(history)
        return net

    return storage.load(made_once(FOLDER / "scratch" / f"{name}.safetensors", make))


def on_test(kind: str, subnet: search.Subnet, net: torch.nn.Module, test: data.Split) -> training.Evaluation:
    """The evaluation on test, read once for each net."""
    file = FOLDER / "test" / f"{kind}-{'-'.join(map(str, SPACE.genes(subnet)))}.safetensors"
    return evaluated_once(file, test, lambda: training.evaluate(net, test))


def searched_at(limit_ms: float) -> tuple[search.Subnet, float]:
    """The best predicted subnet whose measured latency is at most ``limit_ms``, and that latency."""
    predictor = parts.fitted_predictor()
    limits = search.Limits({"latency_ms": 1.05 * limit_ms}, parts.table())
    found = search.evolutionary_search(SPACE, predictor, limits, evaluations=1500)
    for subnet in sorted(found.evaluated, key=lambda one: -found.evaluated[one])[:40]:
        if (ms := parts.quietest_ms(search.parts_of(subnet))) <= limit_ms:
            return subnet, ms
    raise ValueError(f"none of the 40 best subnets runs within {limit_ms:.3f} ms")


def uniform(splits: data.Splits, _: Any) -> Iterator[Row]:
    """Searched subnets against uniformly scaled widths at equal measured latency, inherited and fine-tuned."""
    supernet, scaled = parts.stored_supernet(), list(SPACE.uniform_widths())
    for position in UNIFORM_POSITIONS:
        plain = scaled[position]
        plain_ms = parts.quietest_ms(search.parts_of(plain))
        best, best_ms = searched_at(plain_ms)
        for weights in ("inherited", "fine-tuned"):
            nets = {
                subnet: parts.calibrated(supernet, subnet, splits.train)
                if weights == "inherited"
                else fine_tuned(subnet, splits)
                for subnet in (plain, best)
            }
            before, after = (on_test(weights, subnet, nets[subnet], splits.test) for subnet in (plain, best))
            yield {
                "weights": weights, "uniform": list(SPACE.genes(plain)), "searched": list(SPACE.genes(best)),
                "uniform_ms": plain_ms, "searched_ms": best_ms, "uniform_accuracy": before.accuracy,
                "searched_accuracy": after.accuracy, **common.points_gained(before.correct, after.correct),
                "uniform_macs": search.macs(plain), "searched_macs": search.macs(best),
            }  # fmt: skip


def inherited(splits: data.Splits, _: Any) -> Iterator[Row]:
    """Five nets with inherited weights, fine-tuned, and trained from scratch on the same images."""
    supernet = parts.stored_supernet()
    generator = random.Random(7)
    nets = [SPACE.smallest, *(SPACE.sample(generator) for _ in range(3)), next(iter(SPACE.uniform_widths()))]
    for subnet in nets:
        kinds = {
            "inherited": lambda subnet=subnet: parts.calibrated(supernet, subnet, splits.train),
            "fine_tuned": lambda subnet=subnet: fine_tuned(subnet, splits),
            "scratch": lambda subnet=subnet: from_scratch(subnet, splits),
        }
        found = {kind: on_test(kind, subnet, make(), splits.test) for kind, make in kinds.items()}
        gain = common.points_gained(found["scratch"].correct, found["fine_tuned"].correct)
        accuracies = {kind: evaluation.accuracy for kind, evaluation in found.items()}
        yield {"genes": list(SPACE.genes(subnet)), "macs": search.macs(subnet), **accuracies, **gain}


def cost(*_: Any) -> Iterator[Row]:
    """Seconds of a whole search: fitting the predictor, evolution, random search and NSGA-II."""
    limits = search.Limits({"macs": 4e6, "latency_ms": 1.2 * parts.table()(SPACE.smallest)}, parts.table())
    seconds, predictor = common.timed(parts.fitted_predictor)
    yield {"step": "fit the predictor", "seconds": seconds, "evaluations": 0}
    for name, run, count in (
        ("random search", search.random_search, 1000), ("evolutionary search", search.evolutionary_search, 1000),
        ("NSGA-II", search.nsga2, 500),
    ):  # fmt: skip
        seconds, _ = common.timed(run, SPACE, predictor, limits, evaluations=count)
        yield {"step": name, "seconds": seconds, "evaluations": count}
