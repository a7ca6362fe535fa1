"""Known mistakes of exercise 02: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_PERCENTILES = "tuple(numpy.percentile(run[warmup:], [50, 95]).tolist())"
_SPEEDUP = "total / (rest + latencies_ms[layer] / factor)"
_LIMIT = "total / rest if rest > 0 else math.inf"
_LATENCY = 'one["latency_ms"] / (one["factor"] if one["name"] in names else 1)'

MISTAKES = {
    "02.1": Mistakes(
        "conv_parameters",
        {
            "a bias adds one number for each output channel": [("(1 if bias else 0)", "0")],
            "without a bias there is nothing to add": [("(1 if bias else 0)", "1")],
            "there is one bias for each output channel, not for each input channel": [
                (
                    "out_channels * (filter_weights + (1 if bias else 0))",
                    "out_channels * filter_weights + (in_channels if bias else 0)",
                )
            ],
            "with groups, a filter sees only in_channels / groups channels": [("in_channels // groups", "in_channels")],
            "with groups, the number of filters stays the same: only the inputs are divided": [
                ("return out_channels * (filter_weights", "return out_channels // groups * (filter_weights")
            ],
            "groups divide the inputs of a filter, not also the number of filters": [
                (
                    "out_channels * (filter_weights + (1 if bias else 0))",
                    "out_channels // groups * filter_weights + (out_channels if bias else 0)",
                )
            ],
            "height and width of the kernel may differ": [("kernel_size[0] * kernel_size[1]", "kernel_size[0] ** 2")],
            "each output channel has a bias, not only one of them": [
                ("out_channels * (filter_weights + (1 if bias else 0))", "out_channels * filter_weights + int(bias)")
            ],
        },
    ),
    "02.2": Mistakes(
        "conv_macs",
        {
            "padding is added on both sides": [("2 * p", "p")],
            "the first position counts too: add 1 after the division by the stride": [(" // s + 1", " // s")],
            "the division by the stride is rounded down, not up": [
                ("(n + 2 * p - k) // s", "-(-(n + 2 * p - k) // s)")
            ],
            "with a stride there are fewer positions: divide by it": [(" // s + 1", " + 1")],
            "the output need not be as large as the image: count the positions of the kernel": [
                ("(n + 2 * p - k) // s + 1", "n")
            ],
            "rows and columns may differ": [("    outputs =", "    columns = rows\n    outputs =")],
            "a pair is (height, width): height first, then width": [
                ("zip(size, padding, kernel_size, stride", "zip(size, padding, kernel_size, stride[::-1]")
            ],
            "each image of the batch costs the same again": [("batch_size * out_channels", "out_channels")],
            "with groups, a filter sees only in_channels / groups channels": [
                ("(in_channels // groups)", "in_channels")
            ],
            "these are operations; a multiply-accumulate counts once, not twice": [
                ("return outputs", "return 2 * outputs")
            ],
            "adding the bias does not count": [("* kernel_size[1]", "* kernel_size[1] + outputs")],
            "that is the number of weights; each is used at every position": [
                ("batch_size * out_channels * rows * columns", "out_channels")
            ],
        },
    ),
    "02.3": Mistakes(
        "attainable",
        {
            "a multiply-accumulate is two operations": [("2 * macs", "macs")],
            "weights move once for the whole batch, operations and activations count for each input": [
                (
                    "macs * batch_size / (weight_bytes + batch_size * activation_bytes)",
                    "macs / (weight_bytes + activation_bytes)",
                )
            ],
            "activations move for each input of the batch": [("batch_size * activation_bytes", "activation_bytes")],
            "activations move too, not only weights": [(" + batch_size * activation_bytes", "")],
            "the speed is never above the peak": [
                ("min(peak_gflops, intensity * bandwidth_gbs)", "intensity * bandwidth_gbs")
            ],
            "the two names are swapped: left of the ridge it is 'memory'": [
                (
                    '"memory" if intensity < peak_gflops / bandwidth_gbs else "compute"',
                    '"compute" if intensity < peak_gflops / bandwidth_gbs else "memory"',
                )
            ],
            "exactly on the ridge a layer is compute-bound": [("intensity < peak", "intensity <= peak")],
        },
    ),
    "02.4": Mistakes(
        "measure",
        {
            "the warm-up rounds do not count": [("run[warmup:]", "run")],
            "the warm-up comes first: you left out the last rounds": [("run[warmup:]", "run[: len(run) - warmup]")],
            "the median is asked, not the mean": [
                (_PERCENTILES, "(numpy.mean(run[warmup:]), numpy.percentile(run[warmup:], 95))")
            ],
            "the median is asked, not the shortest time": [
                (_PERCENTILES, "(min(run[warmup:]), numpy.percentile(run[warmup:], 95))")
            ],
            "the 95th percentile is asked, not the longest time": [("[50, 95]", "[50, 100]")],
            "the median comes first, then the 95th percentile": [("[50, 95]", "[95, 50]")],
            "all rounds after the warm-up count, not only the last one": [("run[warmup:]", "run[-1:]")],
        },
    ),
    "02.5": Mistakes(
        "whole_speedup",
        {
            "only one layer is that much faster, the others are not": [(_SPEEDUP, "factor")],
            "a share times the factor is no speed-up: add up the times before and after": [
                (_SPEEDUP, "factor * latencies_ms[layer] / total")
            ],
            "a faster layer takes latency / factor": [("layer] / factor", "layer] * factor")],
            "time before divided by time after, not the other way round": [
                (_SPEEDUP, "(rest + latencies_ms[layer] / factor) / total")
            ],
            "the layer still takes latency / factor; only for the limit it takes no time": [(_SPEEDUP, f"({_LIMIT})")],
            "the layer's old time is still counted beside the new one": [("(rest + lat", "(total + lat")],
            "the other layers remain: only if there are none the limit is math.inf": [(_LIMIT, "math.inf")],
            "divide by the time of the other layers, not by that of this one": [
                (_LIMIT, "total / latencies_ms[layer] if latencies_ms[layer] else math.inf")
            ],
            "if nothing else takes time, the limit is math.inf": [("else math.inf", "else factor")],
            "`layer` is an index that counts from 0": [
                ("    total =", "    layer = (layer - 1) % len(latencies_ms)\n    total =")
            ],
        },
    ),
    "02.6": Mistakes(
        "choose_layers",
        {
            "the choice with the fewest layers need not do the least damage": [("key=damage", "key=len")],
            "a compressed layer still takes latency_ms / factor": [
                (_LATENCY, '(0 if one["name"] in names else one["latency_ms"])')
            ],
            "at most budget_ms: a choice that takes exactly that long fits": [("<= budget_ms", "< budget_ms")],
            "the empty choice is allowed: nothing has to be compressed if the model is quick enough": [
                ("range(len(names) + 1)", "range(1, len(names) + 1)")
            ],
        },
    ),
}
