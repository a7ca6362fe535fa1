"""Answers to exercise 02 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers


def _parameters(expression: str) -> str:
    return f"""
def conv_parameters(in_channels, out_channels, kernel_size, groups=1, bias=True):
    height, width = kernel_size
    return {expression}
"""


PARAMETERS = Answers(
    name="conv_parameters",
    wrong={
        "no bias": _parameters("out_channels * (in_channels // groups) * height * width"),
        "always a bias": _parameters("out_channels * (in_channels // groups) * height * width + out_channels"),
        "a bias for each input": _parameters(
            "out_channels * (in_channels // groups) * height * width + (in_channels if bias else 0)"
        ),
        "groups are ignored": _parameters(
            "out_channels * in_channels * height * width + (out_channels if bias else 0)"
        ),
        "groups divide twice": _parameters(
            "(out_channels // groups) * (in_channels // groups) * height * width + (out_channels if bias else 0)"
        ),
        "a square kernel": _parameters(
            "out_channels * (in_channels // groups) * height ** 2 + (out_channels if bias else 0)"
        ),
        "one bias": _parameters("out_channels * (in_channels // groups) * height * width + int(bias)"),
        "a float": _parameters("out_channels * in_channels / groups * height * width + (out_channels if bias else 0)"),
    },
    advice={
        "no bias": "adds one number for each output channel",
        "always a bias": "nothing to add",
        "a bias for each input": "not for each input channel",
        "groups are ignored": "sees only in_channels / groups",
        "groups divide twice": "not also the number of filters",
        "a square kernel": "Height and width of the kernel may differ",
        "one bias": "not only one of them",
        "a float": "return an int",
    },
    right={
        "PyTorch counts": """
from torch import nn
def conv_parameters(in_channels, out_channels, kernel_size, groups=1, bias=True):
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
    return sum(parameter.numel() for parameter in layer.parameters())
""",
        "one filter at a time": _parameters("out_channels * (in_channels * height * width // groups + bool(bias))"),
    },
)


def _macs(rows: str = "", columns: str = "", returned: str = "") -> str:
    rows = rows or "(size[0] + 2 * padding[0] - kernel_size[0]) // stride[0] + 1"
    columns = columns or "(size[1] + 2 * padding[1] - kernel_size[1]) // stride[1] + 1"
    work = "in_channels // groups * kernel_size[0] * kernel_size[1]"
    return f"""
def conv_macs(in_channels, out_channels, kernel_size, stride, padding, groups, size, batch_size=1):
    rows = {rows}
    columns = {columns}
    work = {work}
    return {returned or "batch_size * out_channels * rows * columns * work"}
"""


MACS = Answers(
    name="conv_macs",
    wrong={
        "padding on one side": _macs(
            "(size[0] + padding[0] - kernel_size[0]) // stride[0] + 1",
            "(size[1] + padding[1] - kernel_size[1]) // stride[1] + 1",
        ),
        "the last position is missing": _macs(
            "(size[0] + 2 * padding[0] - kernel_size[0]) // stride[0]",
            "(size[1] + 2 * padding[1] - kernel_size[1]) // stride[1]",
        ),
        "rounded up": _macs(
            "-(-(size[0] + 2 * padding[0] - kernel_size[0]) // stride[0]) + 1",
            "-(-(size[1] + 2 * padding[1] - kernel_size[1]) // stride[1]) + 1",
        ),
        "the stride is ignored": _macs(
            "size[0] + 2 * padding[0] - kernel_size[0] + 1", "size[1] + 2 * padding[1] - kernel_size[1] + 1"
        ),
        "as large as the input": _macs("size[0]", "size[1]"),
        "a square image": _macs(columns="rows"),
        "the batch is forgotten": _macs(returned="out_channels * rows * columns * work"),
        "groups are ignored": _macs(returned="batch_size * out_channels * rows * columns * work * groups"),
        "FLOPs instead of MACs": _macs(returned="2 * batch_size * out_channels * rows * columns * work"),
        "a bias is added": _macs(returned="batch_size * out_channels * rows * columns * (work + 1)"),
        "parameters instead": _macs(returned="out_channels * work"),
        "height and width of the stride are swapped": _macs(
            "(size[0] + 2 * padding[0] - kernel_size[0]) // stride[1] + 1",
            "(size[1] + 2 * padding[1] - kernel_size[1]) // stride[0] + 1",
        ),
    },
    advice={
        "padding on one side": "on both sides",
        "the last position is missing": "add 1 after the division",
        "rounded up": "rounded down, not up",
        "the stride is ignored": "fewer positions: divide by it",
        "as large as the input": "need not be as large as the image",
        "a square image": "Rows and columns may differ",
        "the batch is forgotten": "Each image of the batch",
        "groups are ignored": "sees only in_channels / groups",
        "FLOPs instead of MACs": "counts once, not twice",
        "a bias is added": "bias does not count",
        "parameters instead": "number of weights; each is used at every position",
        "height and width of the stride are swapped": "height first, then width",
    },
    right={
        "positions are counted": """
def conv_macs(in_channels, out_channels, kernel_size, stride, padding, groups, size, batch_size=1):
    positions = 1
    for k, s, p, n in zip(kernel_size, stride, padding, size):
        positions *= len(range(0, n + 2 * p - k + 1, s))
    weights = out_channels * in_channels * kernel_size[0] * kernel_size[1] // groups
    return weights * positions * batch_size
""",
        "FlopCounterMode, halved": """
import torch
from torch.utils.flop_counter import FlopCounterMode
def conv_macs(in_channels, out_channels, kernel_size, stride, padding, groups, size, batch_size=1):
    layer = torch.nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        layer(torch.empty(batch_size, in_channels, *size, device="meta"))
    return counter.get_total_flops() // 2
""",
    },
)


def _attainable(flops: str = "", travelling: str = "", gflops: str = "", bound: str = "") -> str:
    return f"""
def attainable(macs, weight_bytes, activation_bytes, batch_size, peak_gflops, bandwidth_gbs):
    flops = {flops or "2 * macs * batch_size"}
    travelling = {travelling or "weight_bytes + batch_size * activation_bytes"}
    intensity = flops / travelling
    gflops = {gflops or "min(peak_gflops, intensity * bandwidth_gbs)"}
    return intensity, gflops, {bound or '"memory" if intensity < peak_gflops / bandwidth_gbs else "compute"'}
"""


ATTAINABLE = Answers(
    name="attainable",
    wrong={
        "one operation for each MAC": _attainable(flops="macs * batch_size"),
        "the batch is forgotten": _attainable(flops="2 * macs", travelling="weight_bytes + activation_bytes"),
        "weights travel for every input": _attainable(travelling="batch_size * (weight_bytes + activation_bytes)"),
        "activations travel once": _attainable(travelling="weight_bytes + activation_bytes"),
        "activations are forgotten": _attainable(travelling="weight_bytes"),
        "no lid": _attainable(gflops="intensity * bandwidth_gbs"),
        "always the peak": _attainable(gflops="peak_gflops"),
        "the larger one": _attainable(gflops="max(peak_gflops, intensity * bandwidth_gbs)"),
        "the bounds are swapped": _attainable(
            bound='"compute" if intensity < peak_gflops / bandwidth_gbs else "memory"'
        ),
        "the ridge is memory-bound": _attainable(
            bound='"memory" if intensity <= peak_gflops / bandwidth_gbs else "compute"'
        ),
    },
    advice={
        "one operation for each MAC": "is two operations",
        "the batch is forgotten": "Weights move once for the whole batch",
        "weights travel for every input": "Weights move once for the whole batch",
        "activations travel once": "Activations move for each input",
        "activations are forgotten": "Activations move too",
        "no lid": "never above the peak",
        "always the peak": "the smaller of bandwidth times intensity and the peak",
        "the larger one": "the smaller of bandwidth times intensity and the peak",
        "the bounds are swapped": "names are swapped",
        "the ridge is memory-bound": "Exactly on the ridge",
    },
    right={
        "two clocks": """
def attainable(macs, weight_bytes, activation_bytes, batch_size, peak_gflops, bandwidth_gbs):
    flops, travelling = 2 * macs * batch_size, weight_bytes + batch_size * activation_bytes
    seconds_memory, seconds_compute = travelling / bandwidth_gbs, flops / peak_gflops
    bound = "memory" if seconds_memory > seconds_compute else "compute"
    return flops / travelling, flops / max(seconds_memory, seconds_compute), bound
""",
        "per input": """
def attainable(macs, weight_bytes, activation_bytes, batch_size, peak_gflops, bandwidth_gbs):
    intensity = 2 * macs / (weight_bytes / batch_size + activation_bytes)
    if intensity * bandwidth_gbs < peak_gflops:
        return intensity, intensity * bandwidth_gbs, "memory"
    return intensity, peak_gflops, "compute"
""",
    },
)


def _measure(start: str = "", counted: str = "", summary: str = "", scale: str = "1000 *") -> str:
    return f"""
import numpy
import statistics
def measure(runners, runs, warmup, clock):
    times = {{name: [] for name in runners}}
    for index in range({start or "warmup + runs"}):
        for name, run in runners.items():
            start = clock()
            run()
            times[name].append({scale} (clock() - start))
    counted = {{name: {counted or "run[warmup:]"} for name, run in times.items()}}
    return {{name: {summary or "tuple(numpy.percentile(run, [50, 95]))"} for name, run in counted.items()}}
"""


MEASURE = Answers(
    name="measure",
    wrong={
        "one model after the other": """
import numpy
def measure(runners, runs, warmup, clock):
    result = {}
    for name, run in runners.items():
        times = []
        for _ in range(warmup + runs):
            start = clock()
            run()
            times.append(1000 * (clock() - start))
        result[name] = tuple(numpy.percentile(times[warmup:], [50, 95]))
    return result
""",
        "the warm-up counts": _measure(counted="run"),
        "the warm-up is taken from the runs": _measure(start="runs"),
        "the last runs are dropped": _measure(counted="run[: len(run) - warmup]"),
        "seconds": _measure(scale=""),
        "the mean": _measure(summary="(statistics.mean(run), numpy.percentile(run, 95))"),
        "the best": _measure(summary="(min(run), numpy.percentile(run, 95))"),
        "the slowest as p95": _measure(summary="(statistics.median(run), max(run))"),
        "swapped": _measure(summary="tuple(numpy.percentile(run, [95, 50]))"),
        "one shot": _measure(counted="run[-1:]"),
        "no model is run": "def measure(runners, runs, warmup, clock): return {name: (1.0, 1.0) for name in runners}",
        "a clock of its own": _measure()
        .replace("clock()", "time.perf_counter()")
        .replace("import numpy", "import numpy, time"),
    },
    advice={
        "one model after the other": "take turns",
        "the warm-up counts": "warm-up rounds do not count",
        "the warm-up is taken from the runs": "(warmup + runs)",
        "the last runs are dropped": "left out the last rounds",
        "seconds": "answer is in milliseconds",
        "the mean": "not the mean",
        "the best": "not the shortest time",
        "the slowest as p95": "not the longest time",
        "swapped": "median comes first",
        "one shot": "not only the last one",
        "no model is run": "call each function of `runners`",
        "a clock of its own": "clock of your own",
    },
    right={
        "warm-up in a loop of its own": """
import statistics, torch
def measure(runners, runs, warmup, clock):
    for _ in range(warmup):
        for run in runners.values():
            run()
    times = {name: [] for name in runners}
    for _ in range(runs):
        for name in runners:
            before = clock()
            runners[name]()
            after = clock()
            times[name] += [(after - before) * 1e3]
    return {
        name: (statistics.median(run), torch.tensor(run, dtype=torch.float64).quantile(0.95).item())
        for name, run in times.items()
    }
""",
        "percentiles by hand": """
def measure(runners, runs, warmup, clock):
    def percentile(values, fraction):
        position = fraction * (len(values) - 1)
        low = int(position)
        high = min(low + 1, len(values) - 1)
        return values[low] + (position - low) * (values[high] - values[low])
    times = {name: [] for name in runners}
    for index in range(runs + warmup):
        for name, run in runners.items():
            begin = clock()
            run()
            if index >= warmup:
                times[name].append((clock() - begin) * 1000)
    return {name: (percentile(sorted(run), 0.5), percentile(sorted(run), 0.95)) for name, run in times.items()}
""",
    },
)


def _speedup(speedup: str, limit: str = "total / (total - part) if total > part else math.inf") -> str:
    return f"""
import math
def whole_speedup(latencies_ms, layer, factor):
    total, part = sum(latencies_ms), latencies_ms[layer]
    return {speedup}, {limit}
"""


_WHOLE = "total / (total - part + part / factor)"

SPEEDUP = Answers(
    name="whole_speedup",
    wrong={
        "the factor itself": _speedup("factor"),
        "the factor times the share": _speedup("factor * part / total"),
        "the layer is slower": _speedup("total / (total - part + part * factor)"),
        "the wrong way round": _speedup("(total - part + part / factor) / total"),
        "the layer is gone": _speedup("total / (total - part) if total > part else math.inf"),
        "the layer counts twice": _speedup("total / (total + part / factor)"),
        "no limit": _speedup(_WHOLE, "math.inf"),
        "the share as limit": _speedup(_WHOLE, "total / part if part else math.inf"),
        "one layer has no limit of its own": _speedup(_WHOLE, "total / (total - part) if total > part else factor"),
        "the next layer": _speedup(_WHOLE).replace("latencies_ms[layer]", "latencies_ms[layer - 1]"),
    },
    advice={
        "the factor itself": "Only one layer is that much faster",
        "the factor times the share": "share times the factor",
        "the layer is slower": "takes latency / factor",
        "the wrong way round": "not the other way round",
        "the layer is gone": "only for the limit it takes no time",
        "the layer counts twice": "old time is still counted",
        "no limit": "The other layers remain",
        "the share as limit": "not by that of this one",
        "one layer has no limit of its own": "the limit is math.inf",
        "the next layer": "index that counts from 0",
    },
    right={
        "by share": """
def whole_speedup(latencies_ms, layer, factor):
    share = latencies_ms[layer] / sum(latencies_ms)
    rest = 1 - share
    return 1 / (rest + share / factor), 1 / rest if rest > 0 else float("inf")
""",
        "a new list": """
import math
def whole_speedup(latencies_ms, layer, factor):
    after = list(latencies_ms)
    after[layer] /= factor
    speedup = sum(latencies_ms) / sum(after)
    after[layer] = 0.0
    return speedup, sum(latencies_ms) / sum(after) if sum(after) else math.inf
""",
    },
)


_CHOOSING = """
from itertools import combinations
def choose_layers(layers, budget_ms):
    best, least = None, float("inf")
    for size in range(len(layers) + 1):
        for chosen in combinations(layers, size):
            names = [layer["name"] for layer in chosen]
            latency = sum(
                layer["latency_ms"] / (layer["factor"] if layer["name"] in names else 1) for layer in layers
            )
            damage = sum(layer["damage"] for layer in chosen)
            if latency <= budget_ms and damage < least:
                best, least = names, damage
    return best
"""


def _greedy(key: str, reverse: bool) -> str:
    return f"""
def choose_layers(layers, budget_ms):
    chosen, latency = [], sum(layer["latency_ms"] for layer in layers)
    def saving(layer):
        return layer["latency_ms"] * (1 - 1 / layer["factor"])
    for layer in sorted(layers, key=lambda layer: {key}, reverse={reverse}):
        if latency <= budget_ms:
            break
        chosen.append(layer["name"])
        latency -= saving(layer)
    return chosen if latency <= budget_ms else None
"""


CHOICE = Answers(
    name="choose_layers",
    wrong={
        "greedy by saving per damage": _greedy('saving(layer) / layer["damage"]', True),
        "the slowest first": _greedy('layer["latency_ms"]', True),
        "the least damage first": _greedy('layer["damage"]', False),
        "every layer": 'def choose_layers(layers, budget_ms): return [layer["name"] for layer in layers]',
        "nothing": "def choose_layers(layers, budget_ms): return []",
        "the fewest layers": _CHOOSING.replace('damage = sum(layer["damage"] for layer in chosen)', "damage = size"),
        "compressed layers take no time": _CHOOSING.replace(
            'layer["latency_ms"] / (layer["factor"] if layer["name"] in names else 1)',
            '(0 if layer["name"] in names else layer["latency_ms"])',
        ),
        "the others are compressed": _CHOOSING.replace('layer["name"] in names', 'layer["name"] not in names'),
        "the budget must not be reached exactly": _CHOOSING.replace("latency <= budget_ms", "latency < budget_ms"),
        "never out of reach": _CHOOSING.replace("return best", "return best or []"),
        "at least one layer": _CHOOSING.replace("range(len(layers) + 1)", "range(1, len(layers) + 1)"),
    },
    advice={
        "greedy by saving per damage": "greedy",
        "the slowest first": "greedy",
        "the least damage first": "greedy choice can go too far",
        "every layer": "Not every layer has to be compressed",
        "nothing": "An empty choice makes nothing faster",
        "the fewest layers": "fewest layers",
        "compressed layers take no time": "still takes latency_ms / factor",
        "the others are compressed": "a chosen layer takes latency_ms / factor",
        "the budget must not be reached exactly": "exactly that long fits",
        "never out of reach": "return None",
        "at least one layer": "The empty choice is allowed",
    },
    right={
        "every subset by its bits": """
def choose_layers(layers, budget_ms):
    found = []
    for pattern in range(2 ** len(layers)):
        inside = [bool(pattern >> index & 1) for index in range(len(layers))]
        latency = sum(one["latency_ms"] / (one["factor"] if take else 1) for one, take in zip(layers, inside))
        if latency <= budget_ms:
            damage = sum(one["damage"] for one, take in zip(layers, inside) if take)
            found.append((damage, [one["name"] for one, take in zip(layers, inside) if take]))
    return min(found)[1] if found else None
""",
        "branch and bound": """
def choose_layers(layers, budget_ms):
    best = [None, float("inf")]
    order = sorted(layers, key=lambda one: -one["damage"])
    saving = [one["latency_ms"] - one["latency_ms"] / one["factor"] for one in order]
    def walk(index, latency, damage, names):
        if damage >= best[1] or latency - sum(saving[index:]) > budget_ms + 1e-9:
            return
        if latency <= budget_ms + 1e-9:
            best[:] = [names, damage]
            return
        walk(index + 1, latency - saving[index], damage + order[index]["damage"], names + [order[index]["name"]])
        walk(index + 1, latency, damage, names)
    walk(0, sum(one["latency_ms"] for one in layers), 0.0, [])
    return best[0]
""",
    },
)

ANSWERS = {
    "02.1": PARAMETERS,
    "02.2": MACS,
    "02.3": ATTAINABLE,
    "02.4": MEASURE,
    "02.5": SPEEDUP,
    "02.6": CHOICE,
}
