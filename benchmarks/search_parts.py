"""What benchmarks/search.py measures before and while searching: subnets, latency, predictor, proxies, memory."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import common
import numpy
import torch
from common import Row
from resuming import measured_once
from search_training import CALIBRATION_IMAGES, FOLDER

from course_lib import data, models, search, storage, training

SPACE = search.RESNET18_SPACE
SUPERNET = common.RESULTS / "resnet18_supernet.safetensors"
LATENCIES = common.RESULTS / "search_latency.json"
SUBNETS, HELD_OUT = 160, 60
FITTED_NETS = 40
PROXY_NETS, MEMORY_NETS, UNCALIBRATED_NETS = 60, 20, 8


def measured_subnets() -> list[search.Subnet]:
    """Random subnets, the smallest and the largest, and those of uniform width."""
    generator = random.Random(0)
    drawn = [SPACE.sample(generator) for _ in range(SUBNETS)]
    return list(dict.fromkeys([*drawn, SPACE.smallest, SPACE.largest, *SPACE.uniform_widths()]))


def stored_supernet() -> search.Supernet:
    """The supernet of the shipped file, which the manifest need not know yet."""
    return search.Supernet(storage.load(SUPERNET)).eval()


def table() -> search.LatencyTable:
    """The stored latency table."""
    return search.LatencyTable.from_json(common.read(LATENCIES))


def calibrated(supernet: search.Supernet, subnet: search.Subnet, train: data.Split) -> torch.nn.Module:
    """A subnet with inherited weights and its own BatchNorm statistics."""
    images = train.take(torch.arange(CALIBRATION_IMAGES))
    return search.recalibrate_batchnorm(supernet.extract(subnet), images)


def subnets(splits: data.Splits, held_out: data.Split) -> Iterator[Row]:
    """Costs and accuracy of random subnets with inherited weights, on images that the supernet was not trained on.

    Without a latency table they have no latency; run this part again after ``latency``.
    """
    supernet, latency = stored_supernet(), table() if LATENCIES.exists() else None
    for subnet in measured_subnets():
        genes = list(SPACE.genes(subnet))
        file = FOLDER / "subnets" / f"{'-'.join(map(str, genes))}.json"

        def measure(subnet: search.Subnet = subnet, genes: list[int] = genes) -> Row:
            net = calibrated(supernet, subnet, splits.train)
            parts = [training.evaluate(net, split).correct for split in (held_out, splits.validation)]
            accuracy, validation = torch.cat(parts).double().mean().item(), parts[1].double().mean().item()
            return {"genes": genes, "accuracy": accuracy, "validation_accuracy": validation}

        costs = {name: cost(subnet) for name, cost in search.metrics(latency).items()}
        yield {**measured_once(file, measure), **costs}


def latency(*_: Any) -> Iterator[Row]:
    """Measure the table of all parts; compare its sums with whole nets that the fit has not seen."""
    times: dict[search.Part, float] = {}
    for part in search.all_parts(SPACE):
        times[part] = quietest_ms([part])
    plain = search.LatencyTable(times)
    generator = random.Random(1)
    nets = [SPACE.sample(generator) for _ in range(2 * FITTED_NETS)]
    whole = [quietest_ms(search.parts_of(net)) for net in nets]
    fitted = plain.fitted(nets[:FITTED_NETS], whole[:FITTED_NETS])
    common.write(LATENCIES, fitted.to_json(), indent=0)
    for net, ms in zip(nets[FITTED_NETS:], whole[FITTED_NETS:], strict=True):
        yield {
            "genes": list(SPACE.genes(net)), "measured_ms": ms, "sum_ms": fitted.sum_ms(net), "table_ms": fitted(net),
            "error": fitted(net) / ms - 1, "sum_error": fitted.sum_ms(net) / ms - 1,
        }  # fmt: skip


def quietest_ms(pieces: Sequence[search.Part], repeats: int = 7) -> float:
    """Lowest of several medians of 15 calls: on a busy machine some of them are not disturbed."""
    return min(search.graph_ms(pieces, runs=15) for _ in range(repeats))


def measured() -> tuple[list[search.Subnet], numpy.ndarray]:
    """The subnets of the results file, and their accuracy."""
    rows = common.read(common.RESULTS / "search.json")["subnets"]["rows"]
    return [SPACE.subnet(row["genes"]) for row in rows], numpy.array([row["accuracy"] for row in rows])


def fitted_predictor(rows: slice = slice(None)) -> search.AccuracyPredictor:
    """The predictor of the measured subnets, or of some of them."""
    nets, accuracy = measured()
    return search.fit_predictor(SPACE, nets[rows], accuracy[rows])


def predictor(*_: Any) -> Iterator[Row]:
    """Rank correlation on held-out subnets, for predictors of more and more measured subnets."""
    nets, accuracy = measured()
    rest, known = slice(HELD_OUT), len(nets) - HELD_OUT
    for count in (20, 40, 80, known):
        fitted = fitted_predictor(slice(HELD_OUT, HELD_OUT + count))
        predicted = fitted(nets[rest])
        tau, low, high = search.kendall_interval(predicted, accuracy[rest])
        error = float(numpy.sqrt(numpy.mean((predicted - accuracy[rest]) ** 2)))
        yield {"measured": count, "held_out": HELD_OUT, "tau": tau, "tau_low": low, "tau_high": high, "rmse": error}
    macs = [search.macs(net) for net in nets[rest]]
    tau, low, high = search.kendall_interval(macs, accuracy[rest])
    yield {"measured": 0, "held_out": HELD_OUT, "tau": tau, "tau_low": low, "tau_high": high, "rmse": None}


def proxies(splits: data.Splits, _: Any) -> Iterator[Row]:
    """Rank correlation of zero-cost proxies of untrained nets with the accuracy of the trained subnets."""
    nets, accuracy = measured()
    images = splits.train.example(32)
    for name, proxy in search.PROXIES.items():
        seconds, scores = common.timed(lambda proxy=proxy: [_scored(proxy, net, images) for net in nets[:PROXY_NETS]])
        tau, low, high = search.kendall_interval(scores, accuracy[:PROXY_NETS])
        yield {
            "proxy": name, "subnets": PROXY_NETS, "tau": tau, "tau_low": low, "tau_high": high,
            "seconds_each": seconds / PROXY_NETS, "scores": scores, "accuracies": accuracy[:PROXY_NETS].tolist(),
        }  # fmt: skip


def _scored(proxy: Any, subnet: search.Subnet, images: torch.Tensor) -> float:
    training.seed_everything(0)
    return proxy(models.build(search.architecture(subnet)), images)


def memory(*_: Any) -> Iterator[Row]:
    """Peak activation memory by formula and as it is measured."""
    for subnet in measured_subnets()[:MEMORY_NETS]:
        net = models.build(search.architecture(subnet, resized=False))
        image = torch.zeros(1, 3, subnet.resolution, subnet.resolution)
        formula, found = search.peak_activation_bytes(subnet), search.measured_activation_bytes(net, image)
        yield {"genes": list(SPACE.genes(subnet)), "formula": formula, "measured": found, "error": formula / found - 1}


def calibration(splits: data.Splits, held_out: data.Split) -> Iterator[Row]:
    """Accuracy with the statistics that all subnets shared while training, and with their own."""
    supernet = stored_supernet()
    for subnet in [SPACE.largest, SPACE.smallest, *measured_subnets()[:UNCALIBRATED_NETS]]:
        plain = supernet.extract(subnet)
        after = {
            images: training.evaluate(
                search.recalibrate_batchnorm(plain, splits.train.take(torch.arange(images))), splits.validation
            ).accuracy
            for images in (64, 256, 1024)
        }
        yield {
            "genes": list(SPACE.genes(subnet)), "shared": training.evaluate(plain, splits.validation).accuracy,
            **{f"own_{images}": value for images, value in after.items()},
        }  # fmt: skip
