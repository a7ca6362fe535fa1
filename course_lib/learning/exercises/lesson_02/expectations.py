"""What the checks of exercise 02 expect of runs and choices, and hints for wrong counts."""

from __future__ import annotations

from typing import Any

from course_lib.learning.exercises.lesson_02 import cases, reference
from course_lib.learning.expect import expect
from course_lib.learning.values import describe


def expect_rounds(order: list[str], names: list[str], rounds: int, given: str) -> None:
    """Every model is run once a round, in turn, ``rounds`` times."""
    expect(bool(order), "no model was run: call each function of `runners`", given=given)
    counts = {name: order.count(name) for name in names}
    wrong = [f"{name} {count} times" for name, count in counts.items() if count != rounds]
    message = f"every model should be run {rounds} times (warmup + runs), you ran {', '.join(wrong)}"
    expect(not wrong, message, given=given)
    advice = "if all runs of one model come first, a machine that slows down looks like a slower model"
    expect(order == names * rounds, "the models should take turns, round after round", given=given, hint=advice)


def expect_choice(chosen: Any, layers: list[cases.Layer], budget: float, given: str) -> None:
    """A list of layer names within the budget whose damage is the smallest possible, or None."""
    best = reference.choose_layers(layers, budget)
    if best is None:
        message = f"no choice meets this budget, so return None; you returned {describe(chosen)}"
        expect(chosen is None, message, given=given)
        return
    expect(type(chosen) in (list, tuple), f"expected a list of names, got {describe(chosen)}", given=given)
    known = {one["name"] for one in layers}
    expect(known.issuperset(chosen), "the list holds something that is not the name of a layer", given=given)
    expect(len(set(chosen)) == len(chosen), "a layer is named twice; it can be compressed once", given=given)
    latency, damage, least = total_latency(layers, chosen), total_damage(layers, chosen), total_damage(layers, best)
    advice = "does a layer that is compressed take latency_ms / factor, and one that is not its whole latency_ms?"
    if not chosen:
        advice = "an empty choice makes nothing faster; a chosen layer takes latency_ms / factor, the others latency_ms"
    expect(latency <= budget, f"your choice takes {latency:.3f} ms", given=given, hint=advice)
    message = f"your choice costs {damage:.4f} points of accuracy; another that meets the budget costs {least:.4f}"
    advice = "a greedy choice is a good start; compare it with every other subset"
    if len(chosen) == len(layers) > 0:
        advice = (
            "not every layer has to be compressed; a greedy choice can go too far: compare it with every other subset"
        )
    expect(damage <= least + 1e-9, message, given=given, hint=advice)


def parameter_hint(case: tuple[Any, ...]) -> str:
    """What a wrong number of parameters usually means."""
    if case[3] > 1:
        return "with groups, a filter sees only in_channels / groups channels; the number of filters does not change"
    return "one bias for each output channel, if there is one; and is the kernel's height × width counted?"


def mac_hint(case: tuple[Any, ...]) -> str:
    """The property of these arguments that is easiest to forget."""
    kernel, stride, padding, groups, size, batch_size = case[2:]
    reasons = {
        "every input of the batch costs the same again": batch_size > 1,
        "with groups, one output number sees in_channels / groups channels": groups > 1,
        "height and width are not the same here": size[0] != size[1] or kernel[0] != kernel[1],
        "the division by the stride is rounded down before 1 is added": stride != (1, 1),
        "padding is added on both sides": padding != (0, 0),
    }
    return next((reason for reason, holds in reasons.items() if holds), "outputs × weights of one filter; no bias")


def latency_hint(times: dict[str, list[float]]) -> str:
    """What wrong latencies usually mean."""
    if any(max(run) > 20 for run in times.values()):
        return "use milliseconds, the median instead of the mean, and leave out the warm-up rounds"
    return "the clock gives seconds, and the answer is in milliseconds"


def total_latency(layers: list[cases.Layer], chosen: list[str]) -> float:
    """Milliseconds of the model when the chosen layers are compressed."""
    return sum(one["latency_ms"] / (one["factor"] if one["name"] in chosen else 1) for one in layers)


def total_damage(layers: list[cases.Layer], chosen: list[str]) -> float:
    """Accuracy points that are lost when the chosen layers are compressed."""
    return sum(one["damage"] for one in layers if one["name"] in chosen)
