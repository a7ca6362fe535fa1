"""Checks and probes of exercise 02, profile first: parameters, MACs, roofline, latency, and where to begin."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_02 import cases, reference
from course_lib.learning.exercises.lesson_02.expectations import (
    expect_choice,
    expect_rounds,
    latency_hint,
    mac_hint,
    parameter_hint,
)
from course_lib.learning.expect import as_float, draw, expect, expect_close, expect_equal, expect_parts, expect_whole
from course_lib.learning.questions import probe, question


@question("02.1")
def check_conv_parameters(answer: Answer) -> None:
    """With and without groups and bias, and for kernels that are not square."""
    for case in cases.CONVOLUTIONS:
        expect_whole("parameters", answer(*case), reference.conv_parameters(*case), hint=parameter_hint(case))


@probe("02.1")
def probe_conv_parameters(answer: Answer, generator: torch.Generator) -> Any:
    """Parameters of random convolutions."""
    for groups, bias in itertools.product((1, 2, 3, 8), (True, False)):
        inputs, outputs, height, width = draw(generator, 1, 9, 4)
        yield answer(inputs * groups, outputs * groups, (height, width), groups, bias)


@question("02.2")
def check_conv_macs(answer: Answer) -> None:
    """Square and other kernels, strides, paddings, groups and batches."""
    for case in cases.MAC_CASES:
        expect_whole("multiply-accumulates", answer(*case), reference.conv_macs(*case), hint=mac_hint(case))


@probe("02.2")
def probe_conv_macs(answer: Answer, generator: torch.Generator) -> Any:
    """Multiply-accumulates of random convolutions."""
    for groups in (1, 1, 2, 4, 8):
        inputs, outputs = (groups * count for count in draw(generator, 1, 9, 2))
        kernel, stride, padding = (tuple(draw(generator, low, high, 2)) for low, high in [(1, 5), (1, 3), (0, 2)])
        size, batch_size = tuple(draw(generator, 6, 40, 2)), draw(generator, 2, 5, 1)[0]
        yield answer(inputs, outputs, kernel, stride, padding, groups, size, batch_size)


@question("02.3")
def check_attainable(answer: Answer) -> None:
    """Layers on both sides of the ridge and exactly on it, one without any arithmetic, and larger batches."""
    for case in cases.ROOFLINE_CASES:
        result = expect_parts(answer(*case), 3, "intensity, gflops and bound")
        expected = reference.attainable(*case)
        advice = "a multiply-accumulate is two operations, and the weights are read once for the whole batch"
        expect_close("intensity", result[0], expected[0], rtol=1e-6, hint=advice)
        advice = "it is the smaller of bandwidth times intensity and the peak"
        expect_close("gflops", result[1], expected[1], rtol=1e-6, hint=advice)
        advice = "left of the ridge, peak / bandwidth, a layer is memory-bound; on it and right of it compute-bound"
        expect_equal("bound", result[2], expected[2], hint=advice)


@probe("02.3")
def probe_attainable(answer: Answer, generator: torch.Generator) -> Any:
    """Positions of random layers on random machines."""
    for case in [(1024, 1024, 1024, 1, 64.0, 64.0), (0, 4096, 64, 8, 100.0, 20.0)]:
        yield _attained(answer(*case))
    for batch_size, macs_per_weight in itertools.product((1, 2, 16, 128), (1, 9, 3000)):
        weights, activations = draw(generator, 10**3, 10**6, 2)
        peak, bandwidth = (float(draw(generator, low, high, 1)[0]) for low, high in [(40, 900), (5, 90)])
        yield _attained(answer(weights * macs_per_weight, 4 * weights, 4 * activations, batch_size, peak, bandwidth))


def _attained(given: Any) -> list[Any]:
    intensity, gflops, bound = given
    return [as_float(intensity), as_float(gflops), bound]


@question("02.4")
def check_measure(answer: Any) -> None:
    """Order of the runs, warm-up left out, median and 95th percentile in milliseconds."""
    drift = {"dense": [90, 60, 10, 11, 12, 13, 14], "pruned": [80, 50, 10, 11, 12, 13, 14]}
    settings: list[tuple[dict[str, list[float]], int, int]] = [
        ({"one": [5.0, 5.0, 5.0]}, 3, 0),
        ({"a": [9.0, 2.0, 4.0, 3.0], "b": [5.0, 5.0, 5.0, 5.0]}, 3, 1),
        ({name: [float(time) for time in times] for name, times in drift.items()}, 5, 2),
        ({"a": [40.0, 2.0, 9.0, 3.0, 2.5], "b": [30.0, 1.0, 7.0, 1.5, 1.25], "c": [9.0, 8.0, 8.0, 8.0, 8.5]}, 4, 1),
    ]
    for times, runs, warmup in settings:
        machine = cases.SimulatedMachine(times)
        given = f"models {', '.join(times)}, runs = {runs}, warmup = {warmup}"
        result = answer.in_place(machine.runners, runs, warmup, machine.clock)
        expect_rounds(machine.order, list(times), runs + warmup, given)
        advice = "a clock of your own measures something else: take the time with the `clock` that you are given"
        expect(machine.readings > 0, "your function never calls `clock`", given=given, hint=advice)
        twin = cases.SimulatedMachine(times)
        expected = reference.measure(twin.runners, runs, warmup, twin.clock)
        expect_close("latencies", result, expected, rtol=1e-4, given=given, hint=latency_hint(times))


@probe("02.4")
def probe_measure(answer: Answer, generator: torch.Generator) -> Any:
    """What is measured on simulated machines, and the order of the runs."""
    for count, runs, warmup in [(1, 3, 0), (2, 6, 2), (3, 5, 1)]:
        slow, quick = torch.rand(2, count, runs + warmup, generator=generator)
        slow[:, warmup:] = 0
        times = {f"model {index}": (90 * slow[index] + 1 + quick[index]).tolist() for index in range(count)}
        machine = cases.SimulatedMachine(times)
        measured = answer(machine.runners, runs, warmup, machine.clock)
        yield [{name: [as_float(one) for one in pair] for name, pair in measured.items()}, machine.order]


@question("02.5")
def check_whole_speedup(answer: Answer) -> None:
    """One of several layers, the only layer, a layer without latency, and a layer that gets slower."""
    for case in cases.SPEEDUP_CASES:
        result = expect_parts(answer(*case), 2, "speedup and limit")
        expected = reference.whole_speedup(*case)
        advice = "time of the whole before, divided by time of the whole after; the other layers stay as they are"
        expect_close("speedup", result[0], expected[0], rtol=1e-6, hint=advice)
        advice = "with that layer at zero the others remain; if nothing remains the limit is math.inf"
        expect_close("limit", result[1], expected[1], rtol=1e-6, hint=advice)


@probe("02.5")
def probe_whole_speedup(answer: Answer, generator: torch.Generator) -> Any:
    """Speed-ups of random models; an infinite limit is given as a word."""
    for count in (1, 2, 3, 8):
        latencies = (0.1 + 9 * torch.rand(count, generator=generator)).tolist()
        factor, layer = draw(generator, 2, 40, 1)[0] / 4, draw(generator, 0, count - 1, 1)[0]
        speedup, limit = answer(latencies, layer, factor)
        yield [as_float(speedup), "infinite" if limit == math.inf else as_float(limit)]


@question("02.6")
def check_choose_layers(answer: Answer) -> None:
    """The damage must be the smallest that meets the budget; greedy choices do more damage."""
    for label, (layers, budget) in cases.layer_tables(torch.Generator().manual_seed(0)).items():
        given = f"the table '{label}' of {len(layers)} layers and budget_ms = {budget:g}"
        expect_choice(answer(layers, budget), layers, budget, given)


@probe("02.6")
def probe_choose_layers(answer: Answer, generator: torch.Generator) -> Any:
    """Choices for random tables, sorted by name."""
    for layers, budget in cases.layer_tables(generator).values():
        chosen = answer(layers, budget)
        yield sorted(chosen) if isinstance(chosen, list | tuple) else chosen
