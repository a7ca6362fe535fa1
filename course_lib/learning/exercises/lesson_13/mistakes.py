"""Known mistakes of exercise 13: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_GROWTH = "alpha * beta**2 * gamma**2"
_LAYERS = "math.ceil(count * alpha**phi)"
_ROUNDED = "rounded = max(8, int(wanted + 4) // 8 * 8)"
_EXCEPTION = "rounded + 8 if rounded < 0.9 * wanted else rounded"
_PHI = "while growth ** (phi + 1) <= times"
_IMPORTANCE = "first.abs().flatten(1).sum(dim=1)"
_ORDER = "importance.argsort(descending=True, stable=True)[:keep]"
_KEPT = "first[order], bias[order], second[:, order]"
_MEAN = "mean = values.mean(dim=1)"
_VAR = "(values - mean[:, None]).square().mean(dim=1)"
_KEY = "(0, -score) if cost <= limit else (1, cost)"
_UNIQUE = "unique = {genes: (score, cost) for genes, score, cost in candidates}"
_SORTED = "sorted(unique, key=rank)[:count]"
_DOMINATED = "x >= a and y <= t and (x, y) != (a, t)"
_FRONT = "[position for position, net in enumerate(nets) if not dominated(*net)]"
_STRIDE = "2 if stage > 0 and number == 0 else 1"
_AFTER = "inputs, size = width, math.ceil(size / stride)"
_TOTAL = "scale * total + offset"

MISTAKES = {
    "13.1": Mistakes(
        "compound_scaling",
        {
            "beta counts twice: inputs and outputs of a layer grow": [(_GROWTH, "alpha * beta * gamma**2")],
            "gamma counts twice: height and width grow": [(_GROWTH, "alpha * beta**2 * gamma")],
            "one step too many: its work is above `times`": [(_PHI, "while growth**phi <= times")],
            "exactly `times` is allowed": [(_PHI, "while growth ** (phi + 1) < times")],
            "phi is a whole number": [
                ("phi = 0\n", "phi = math.log(times) / math.log(growth)\n"),
                (_PHI, "while False"),
            ],
            "layers are rounded up, not to the nearest": [(_LAYERS, "round(count * alpha**phi)")],
            "layers are rounded up, not down": [(_LAYERS, "int(count * alpha**phi)")],
            "scale by alpha to the power of phi, not in proportion to phi": [
                (_LAYERS, "math.ceil(count * (1 + phi * (alpha - 1)))")
            ],
            "channels are multiples of 8": [
                (_ROUNDED, "rounded = round(wanted)"),
                (_EXCEPTION, "rounded"),
            ],
            "round channels to the nearest multiple of 8, not always up": [
                (_ROUNDED, "rounded = max(8, math.ceil(wanted / 8) * 8)")
            ],
            "take the next multiple of 8 where the nearest one is below 90 % of the scaled number": [
                (_EXCEPTION, "rounded")
            ],
            "round the resolution to the nearest pixel": [
                ("round(resolution * gamma**phi)", "int(resolution * gamma**phi)")
            ],
            "depth grows by alpha, width by beta": [(_LAYERS, "math.ceil(count * beta**phi)")],
        },
    ),
    "13.2": Mistakes(
        "first_channels",
        {
            "sort the largest first": [(_ORDER, "importance.argsort(stable=True)[:keep]")],
            "the importance is a sum of magnitudes, without signs": [(_IMPORTANCE, "first.flatten(1).sum(dim=1)")],
            "the second layer reads the channels, so its inputs move with them": [
                (_KEPT, "first[order], bias[order], second[:, :keep]")
            ],
            "the bias moves with its channel": [(_KEPT, "first[order], bias[:keep], second[:, order]")],
            "the most important one first: the kept channels do not stay in their old order": [
                (_ORDER, _ORDER + ".sort().values")
            ],
            "equal channels keep their order: use a stable sort from large to small": [
                (_ORDER, "len(importance) - 1 - importance.flip(0).argsort(descending=True, stable=True)[:keep]")
            ],
            "the importance is a sum of magnitudes, not of squares": [
                (_IMPORTANCE, "first.square().flatten(1).sum(dim=1)")
            ],
            "return only the first `keep` channels": [(_ORDER, "importance.argsort(descending=True, stable=True)")],
            "the importance comes from the filters of `first`, not from the layer that reads them": [
                (_IMPORTANCE, "second.abs().sum(dim=(0, 2, 3))")
            ],
        },
    ),
    "13.3": Mistakes(
        "batchnorm_statistics",
        {
            "an average of the batches' variances is too small: batches have different means": [
                (
                    _VAR,
                    "sum(b.shape[0] * b.double().var(dim=(0, 2, 3), correction=0) for b in batches)"
                    " / sum(b.shape[0] for b in batches)",
                )
            ],
            "give every image the same weight, not every batch": [
                (_MEAN, "mean = sum(b.double().mean(dim=(0, 2, 3)) for b in batches) / len(batches)")
            ],
            "divide by the number of values, not by one less": [(_VAR, "values.var(dim=1)")],
            "the variance is asked, not its square root": [(_VAR, "values.std(dim=1, correction=0)")],
            "take mean and variance for each channel of its own": [
                (_MEAN, "mean = values.mean().expand(len(values))"),
                (_VAR, "values.var(correction=0).expand(len(values))"),
            ],
            "use the values of all batches, not of the last one": [
                ("for batch in batches]", "for batch in batches[-1:]]")
            ],
            "a plain average over all images, no moving average": """
def batchnorm_statistics(batches):
    mean, var = 0.0, 1.0
    for batch in batches:
        mean = 0.9 * mean + 0.1 * batch.double().mean(dim=(0, 2, 3))
        var = 0.9 * var + 0.1 * batch.double().var(dim=(0, 2, 3), correction=0)
    return mean.float(), var.float()
""",
            "the variance is measured around the mean": [(_VAR, "values.square().mean(dim=1)")],
        },
    ),
    "13.4": Mistakes(
        "survivors",
        {
            "nets within the limit come before all others": [(_KEY, "(0, -score)")],
            "nets above the limit are not thrown away: they come after them": [
                (_UNIQUE, "unique = {genes: (score, cost) for genes, score, cost in candidates if cost <= limit}")
            ],
            "sort the nets above the limit by their cost, not by their score": [(_KEY, "(int(cost > limit), -score)")],
            "of the nets above the limit the lowest cost first": [
                (_KEY, "(0, -score) if cost <= limit else (1, -cost)")
            ],
            "a net with exactly the limit keeps it": [(_KEY, "(0, -score) if cost < limit else (1, cost)")],
            "a high score is good": [(_KEY, "(0, score) if cost <= limit else (1, cost)")],
            "the same genes survive once": """
def survivors(candidates, limit, count):
    order = sorted(candidates, key=lambda one: (0, -one[1]) if one[2] <= limit else (1, one[2]))
    return [genes for genes, _, _ in order][:count]
""",
            "remove repetitions before you count": """
def survivors(candidates, limit, count):
    order = sorted(candidates, key=lambda one: (0, -one[1]) if one[2] <= limit else (1, one[2]))
    return list(dict.fromkeys(genes for genes, _, _ in order[:count]))
""",
            "equal nets keep the order of the list: do not compare their genes": [
                (_KEY, "(0, -score, genes) if cost <= limit else (1, cost, genes)")
            ],
            "return only the genes, without score and cost": [
                (_SORTED, "[(genes, *unique[genes]) for genes in sorted(unique, key=rank)[:count]]")
            ],
            "within the limit, the score decides, not the cost": [(_KEY, "(0, cost)")],
        },
    ),
    "13.5": Mistakes(
        "pareto_front",
        {
            "two equal nets do not dominate each other": """
def pareto_front(accuracy, latency):
    nets = list(enumerate(zip(accuracy, latency)))
    return [i for i, (a, t) in nets if not any(j != i and x >= a and y <= t for j, (x, y) in nets)]
""",
            "to dominate, it is enough to be better in one of the two, if the other is equal": [
                (_DOMINATED, "x > a and y < t")
            ],
            "a faster net that is equal in accuracy dominates": [(_DOMINATED, "x > a and y <= t")],
            "a more accurate net that is equal in latency dominates": [(_DOMINATED, "x >= a and y < t")],
            "to dominate, a net must be nowhere worse: in both, not in one of them": [
                (_DOMINATED, "(x >= a or y <= t) and (x, y) != (a, t)")
            ],
            "high accuracy is good": [(_DOMINATED, "x <= a and y <= t and (x, y) != (a, t)")],
            "equal nets are kept or dropped together": """
def pareto_front(accuracy, latency):
    nets = list(enumerate(zip(accuracy, latency)))
    return [
        i for i, (a, t) in nets if not any(x >= a and y <= t and ((x, y) != (a, t) or j < i) for j, (x, y) in nets)
    ]
""",
            "return the positions, not the nets": [(_FRONT, "[net for net in nets if not dominated(*net)]")],
            "return the positions in rising order, not sorted by latency": [
                (_FRONT, f"sorted({_FRONT}, key=lambda i: (latency[i], accuracy[i], -i))")
            ],
            "return what is not dominated": [(_FRONT, _FRONT.replace("if not", "if"))],
            "the front has all nets that nothing dominates, not only the most accurate": [
                (_FRONT, "[max(range(len(nets)), key=lambda i: accuracy[i])] if nets else []")
            ],
        },
    ),
    "13.6": Mistakes(
        "table_latency",
        {
            "the first stage has no stride": [(_STRIDE, "2 if number == 0 else 1")],
            "only the first block of a stage has stride 2": [(_STRIDE, "2 if stage > 0 else 1")],
            "the first blocks of the later stages have stride 2": [(_STRIDE, "1")],
            "half of an odd size is rounded up": [(_AFTER, "inputs, size = width, max(1, size // stride)")],
            "stride 2 halves the size for the blocks after it": [(_AFTER, "inputs = width")],
            "the first block of a stage reads the channels of the stage before": [
                (
                    "        for number in range(depth):\n",
                    "        inputs = width\n        for number in range(depth):\n",
                )
            ],
            "the offset is added last, without the scale": [(_TOTAL, "scale * (total + offset)")],
            "`scale` is missing: a sum of blocks is not yet the time of a net": [(_TOTAL, "total + offset")],
            "`offset` is missing": [(_TOTAL, "scale * total")],
            "the offset is added once for the whole net, not for every block": [
                (_TOTAL, "scale * total + offset * sum(depths)")
            ],
            "add all blocks of a stage: `depths` says how many": [("range(depth)", "range(1)")],
        },
    ),
}
