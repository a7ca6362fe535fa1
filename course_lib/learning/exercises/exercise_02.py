"""Checks and probes of exercise 02, profile first: parameters, MACs, roofline, latency, and where to begin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from course_lib.learning.exercises.reference_02 import (
    Layer,
    PretendMachine,
    attainable,
    choose_layers,
    conv_macs,
    convolutions,
    layer_tables,
    mac_cases,
    roofline_cases,
    speedup_cases,
    summaries,
    total_damage,
    total_latency,
    whole_speedup,
)
from course_lib.learning.expect import expect, expect_close, expect_equal
from course_lib.learning.questions import probe, question
from course_lib.learning.values import describe


@question(
    "02.1",
    points=3,
    minutes=6,
    difficulty=1,
    title="Parameters of a convolution",
    hints=(
        "Think of one output channel first: it has one small filter, and perhaps one bias.",
        "With `groups`, an output channel sees only its own share of the input channels.",
        "One filter holds (in_channels / groups) × height × width weights. How many filters are there?",
    ),
)
def check_conv_parameters(answer: Callable[..., Any]) -> None:
    """The same number as PyTorch's own layer, with and without groups and bias, and for kernels that are not square."""
    for case in convolutions():
        with torch.device("meta"):
            layer = nn.Conv2d(case[0], case[1], case[2], groups=case[3], bias=case[4])
        expected = sum(parameter.numel() for parameter in layer.parameters())
        _expect_whole("parameters", answer(*case), expected, _parameter_hint(case, expected))


@probe("02.1")
def probe_conv_parameters(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Parameters of random convolutions."""
    values = []
    for groups, bias in itertools.product((1, 2, 3, 8), (True, False)):
        inputs, outputs, height, width = _draw(generator, 1, 9, 4)
        values.append(answer(inputs * groups, outputs * groups, (height, width), groups, bias))
    return values


@question(
    "02.2",
    points=4,
    minutes=12,
    difficulty=3,
    title="Multiply-accumulates of a convolution",
    hints=(
        "Two questions in turn: how many numbers come out, and what does one of them cost?",
        "Along one side, a kernel of k fits floor((size + 2 × padding - k) / stride) + 1 times.",
        "One output number costs one multiply-accumulate for each weight of its filter; think of `groups`.",
    ),
)
def check_conv_macs(answer: Callable[..., Any]) -> None:
    """Output positions counted by PyTorch itself, times the weights of one filter."""
    for case in mac_cases():
        _expect_whole("multiply-accumulates", answer(*case), conv_macs(*case), _mac_hint(case))


@probe("02.2")
def probe_conv_macs(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Multiply-accumulates of random convolutions."""
    values = []
    for groups in (1, 1, 2, 4, 8):
        inputs, outputs = (groups * count for count in _draw(generator, 1, 9, 2))
        kernel, stride, padding = (tuple(_draw(generator, low, high, 2)) for low, high in [(1, 5), (1, 3), (0, 2)])
        size, batch_size = tuple(_draw(generator, 6, 40, 2)), _draw(generator, 2, 5, 1)[0]
        values.append(answer(inputs, outputs, kernel, stride, padding, groups, size, batch_size))
    return values


@question(
    "02.3",
    points=4,
    minutes=10,
    difficulty=3,
    title="A layer under the roofline",
    hints=(
        "Count first: operations of the whole batch, and bytes that travel for the whole batch.",
        "The weights travel once for a batch; the activations of each input travel for themselves.",
        "Intensity is operations per byte. Bandwidth times intensity is what the memory can feed; the peak is the lid.",
    ),
)
def check_attainable(answer: Callable[..., Any]) -> None:
    """Layers on both sides of the ridge and exactly on it, one without any arithmetic, and larger batches."""
    for case in roofline_cases():
        result = answer(*case)
        is_triple = type(result) is tuple and len(result) == 3
        expect(is_triple, f"expected three values (intensity, gflops, bound), got {describe(result)}")
        expected = attainable(*case)
        advice = "are a multiply-accumulate two operations, and do the weights travel once for the whole batch?"
        expect_close("intensity", result[0], expected[0], rtol=1e-6, hint=advice)
        advice = "the smaller one counts: what the memory can feed, or the peak"
        expect_close("gflops", result[1], expected[1], rtol=1e-6, hint=advice)
        advice = "left of the ridge, peak / bandwidth, a layer is memory-bound; on it and right of it compute-bound"
        expect_equal("bound", result[2], expected[2], hint=advice)


@probe("02.3")
def probe_attainable(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Positions of random layers on random machines."""
    cases: list[tuple[Any, ...]] = [(1024, 1024, 1024, 1, 64.0, 64.0), (0, 4096, 64, 8, 100.0, 20.0)]
    for batch_size in (1, 2, 16, 128):
        for macs_per_weight in (1, 9, 3000):
            weights, activations = _draw(generator, 10**3, 10**6, 2)
            peak, bandwidth = _draw(generator, 40, 900, 1)[0], _draw(generator, 5, 90, 1)[0]
            cases.append(
                (weights * macs_per_weight, 4 * weights, 4 * activations, batch_size, float(peak), float(bandwidth))
            )
    return [list(answer(*case)) for case in cases]


@question(
    "02.4",
    points=4,
    minutes=15,
    difficulty=3,
    title="A stopwatch that can be trusted",
    hints=(
        "One round runs every model once. There are warmup + runs rounds; what happens with the times of the first?",
        "Take the clock before and after each single run; the difference is in seconds, the answer in milliseconds.",
        "`numpy.percentile(times, [50, 95])` gives both numbers; `statistics.median` is the first of them.",
    ),
)
def check_measure(answer: Any) -> None:
    """Order of the runs, warm-up left out, median and 95th percentile in milliseconds."""
    drift = {"dense": [90, 60, 10, 11, 12, 13, 14], "pruned": [80, 50, 10, 11, 12, 13, 14]}
    cases: list[tuple[dict[str, list[float]], int, int]] = [
        ({"one": [5.0, 5.0, 5.0]}, 3, 0),
        ({name: [float(time) for time in times] for name, times in drift.items()}, 5, 2),
        ({"a": [40.0, 2.0, 9.0, 3.0, 2.5], "b": [30.0, 1.0, 7.0, 1.5, 1.25], "c": [9.0, 8.0, 8.0, 8.0, 8.5]}, 4, 1),
    ]
    for times, runs, warmup in cases:
        machine = PretendMachine(times)
        given = f"models {', '.join(times)}, runs = {runs}, warmup = {warmup}"
        result = answer.in_place(machine.runners, runs, warmup, machine.clock)
        _expect_rounds(machine.order, list(times), runs + warmup, given)
        expect_close("latencies", result, summaries(times, warmup), rtol=1e-4, given=given, hint=_latency_hint(times))


@probe("02.4")
def probe_measure(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """What is measured on pretended machines, and in which order the models were run."""
    values = []
    for count, runs, warmup in [(1, 3, 0), (2, 6, 2), (3, 5, 1)]:
        slow, quick = torch.rand(2, count, runs + warmup, generator=generator)
        slow[:, warmup:] = 0
        times = {f"model {index}": (90 * slow[index] + 1 + quick[index]).tolist() for index in range(count)}
        machine = PretendMachine(times)
        measured = answer(machine.runners, runs, warmup, machine.clock)
        values.append([{name: list(pair) for name, pair in measured.items()}, machine.order])
    return values


@question(
    "02.5",
    points=2,
    minutes=6,
    difficulty=2,
    title="One layer becomes faster",
    hints=(
        "Write down the time of the whole model before and after. Only one term of the sum changes.",
        "The speed-up is before divided by after. A layer that is k times faster takes 1/k of its time.",
        "The limit is what remains when that term is gone. What if nothing at all remains?",
    ),
)
def check_whole_speedup(answer: Callable[..., Any]) -> None:
    """One of several layers, a layer that is everything, one that takes no time, and a layer that gets slower."""
    for case in speedup_cases():
        result = answer(*case)
        expect(type(result) is tuple and len(result) == 2, f"expected a pair (speedup, limit), got {describe(result)}")
        expected = whole_speedup(*case)
        advice = "time of the whole before, divided by time of the whole after; the other layers stay as they are"
        expect_close("speedup", result[0], expected[0], rtol=1e-6, hint=advice)
        advice = "with that layer at zero the others remain; if nothing remains the limit is math.inf"
        expect_close("limit", result[1], expected[1], rtol=1e-6, hint=advice)


@probe("02.5")
def probe_whole_speedup(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Speed-ups of random models; an endless limit is given as a word."""
    values = []
    for count in (1, 2, 3, 8):
        latencies = (0.1 + 9 * torch.rand(count, generator=generator)).tolist()
        factor, layer = _draw(generator, 2, 40, 1)[0] / 4, _draw(generator, 0, count - 1, 1)[0]
        speedup, limit = answer(latencies, layer, factor)
        values.append([speedup, "endless" if limit == math.inf else limit])
    return values


@question(
    "02.6",
    points=3,
    minutes=25,
    difficulty=4,
    title="Where to begin",
    hints=(
        "What does a choice of layers cost, and what does it save? Write these two sums for one choice first.",
        "Taking the layer with the best saving per damage again and again is quick, and not always the best choice: "
        "one large layer may do what three small ones do.",
        "Twelve layers have 4,096 subsets. `itertools.combinations` walks through those of one size.",
    ),
)
def check_choose_layers(answer: Callable[..., Any]) -> None:
    """The measured damage must be the smallest that meets the budget; greedy choices meet it at a higher price."""
    for label, (layers, budget) in layer_tables(torch.Generator().manual_seed(0)).items():
        given = f"the table '{label}' of {len(layers)} layers and budget_ms = {budget:g}"
        _expect_choice(answer(layers, budget), layers, budget, given)


@probe("02.6")
def probe_choose_layers(answer: Callable[..., Any], generator: torch.Generator) -> Any:
    """Choices for random tables, sorted by name."""
    values = []
    for layers, budget in layer_tables(generator).values():
        chosen = answer(layers, budget)
        values.append(sorted(chosen) if isinstance(chosen, list) else chosen)
    return values


def _expect_whole(what: str, got: Any, expected: int, hint: str) -> None:
    expect(type(got) is not float, f"{what}: count in whole numbers and return an int, not {describe(got)}")
    expect_equal(what, got, expected, hint=hint)


def _expect_rounds(order: list[str], names: list[str], rounds: int, given: str) -> None:
    expect(bool(order), "no model was run: call each function of `runners`", given=given)
    counts = {name: order.count(name) for name in names}
    wrong = [f"{name} {count} times" for name, count in counts.items() if count != rounds]
    message = f"every model should be run {rounds} times (warmup + runs), you ran {', '.join(wrong)}"
    expect(not wrong, message, given=given)
    advice = "if all runs of one model come first, a machine that slows down looks like a slower model"
    expect(order == names * rounds, "the models should take turns, round after round", given=given, hint=advice)


def _expect_choice(chosen: Any, layers: list[Layer], budget: float, given: str) -> None:
    best = choose_layers(layers, budget)
    if best is None:
        message = f"no choice meets this budget, so return None; you returned {describe(chosen)}"
        expect(chosen is None, message, given=given)
        return
    expect(type(chosen) is list, f"expected a list of names, got {describe(chosen)}", given=given)
    known = {one["name"] for one in layers}
    expect(known.issuperset(chosen), "the list holds something that is not the name of a layer", given=given)
    expect(len(set(chosen)) == len(chosen), "a layer is named twice; it can be compressed once", given=given)
    latency, damage, least = total_latency(layers, chosen), total_damage(layers, chosen), total_damage(layers, best)
    advice = "does a layer that is compressed take latency_ms / factor, and one that is not its whole latency_ms?"
    expect(latency <= budget, f"your choice takes {latency:.3f} ms", given=given, hint=advice)
    message = f"your choice costs {damage:.4f} points of accuracy; another that meets the budget costs {least:.4f}"
    advice = "a greedy choice is a good start; compare it with every other subset"
    expect(damage <= least + 1e-9, message, given=given, hint=advice)


def _parameter_hint(case: tuple[Any, ...], expected: int) -> str:
    if case[3] > 1:
        return "with groups, a filter sees only in_channels / groups channels; the number of filters stays"
    return "one bias for each output channel, if there is one; and is the kernel's height × width counted?"


def _mac_hint(case: tuple[Any, ...]) -> str:
    kernel, stride, padding, groups, size, batch_size = case[2:]
    reasons = {
        "every input of the batch costs the same again": batch_size > 1,
        "with groups, one output number sees in_channels / groups channels": groups > 1,
        "height and width are not the same here": size[0] != size[1] or kernel[0] != kernel[1],
        "the division by the stride is rounded down before 1 is added": stride != (1, 1),
        "padding is added on both sides": padding != (0, 0),
    }
    return next((reason for reason, holds in reasons.items() if holds), "outputs × weights of one filter; no bias")


def _latency_hint(times: dict[str, list[float]]) -> str:
    if any(max(run) > 20 for run in times.values()):
        return "milliseconds, the median and not the mean, and nothing of the warm-up rounds?"
    return "the clock gives seconds, and the answer is in milliseconds"


def _draw(generator: torch.Generator, low: int, high: int, count: int) -> list[int]:
    return torch.randint(low, high + 1, (count,), generator=generator).tolist()
