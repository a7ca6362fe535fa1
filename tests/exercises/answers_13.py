"""Answers to exercise 13 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers


def _scaling(
    phi: str = "while (alpha * beta**2 * gamma**2) ** (phi + 1) <= times: phi += 1",
    layers: str = "math.ceil(n * alpha**phi)",
    channels: str = "rounded(c * beta**phi)",
    resolution: str = "round(resolution * gamma**phi)",
    rounded: str = "r = max(8, int(v + 4) // 8 * 8); return r + 8 if r < 0.9 * v else r",
) -> str:
    return f"""
import math
def rounded(v):
    {rounded}
def compound_scaling(layers, channels, resolution, times, alpha, beta, gamma):
    phi = 0
    {phi}
    return dict(
        phi=phi, layers=[{layers} for n in layers], channels=[{channels} for c in channels], resolution={resolution}
    )
"""


SCALING = Answers(
    name="compound_scaling",
    wrong={
        "width counts once": _scaling("while (alpha * beta * gamma**2) ** (phi + 1) <= times: phi += 1"),
        "resolution counts once": _scaling("while (alpha * beta**2 * gamma) ** (phi + 1) <= times: phi += 1"),
        "one step too many": _scaling("while (alpha * beta**2 * gamma**2) ** phi <= times: phi += 1"),
        "below the limit": _scaling("while (alpha * beta**2 * gamma**2) ** (phi + 1) < times: phi += 1"),
        "a fraction": _scaling("phi = math.log(times) / math.log(alpha * beta**2 * gamma**2)"),
        "layers rounded": _scaling(layers="round(n * alpha**phi)"),
        "layers rounded down": _scaling(layers="int(n * alpha**phi)"),
        "linear growth": _scaling(layers="math.ceil(n * (1 + phi * (alpha - 1)))"),
        "channels not in eights": _scaling(channels="round(c * beta**phi)"),
        "channels up": _scaling(channels="max(8, math.ceil(c * beta**phi / 8) * 8)"),
        "no 90 %": _scaling(rounded="return max(8, int(v + 4) // 8 * 8)"),
        "resolution cut": _scaling(resolution="int(resolution * gamma**phi)"),
        "bases swapped": _scaling(layers="math.ceil(n * beta**phi)", channels="rounded(c * alpha**phi)"),
    },
    advice={
        "width counts once": "eta counts twice",
        "resolution counts once": "amma counts twice",
        "one step too many": "ne step too many",
        "below the limit": "xactly `times` is allowed",
        "a fraction": "whole number",
        "layers rounded": "not to the nearest",
        "layers rounded down": "not down",
        "linear growth": "to the power of phi",
        "channels not in eights": "multiples of 8",
        "channels up": "not always up",
        "no 90 %": "below 90 %",
        "resolution cut": "nearest pixel",
        "bases swapped": "epth grows by alpha",
    },
    right={
        "a logarithm with a tolerance": _scaling(
            "phi = math.floor(math.log(times) / math.log(alpha * beta**2 * gamma**2) + 1e-9)"
        ),
        "step by step": """
import math
def compound_scaling(layers, channels, resolution, times, alpha, beta, gamma):
    work, phi = alpha * beta * beta * gamma * gamma, 0
    total = work
    while total <= times:
        total, phi = total * work, phi + 1
    wide = []
    for count in channels:
        wanted = count * beta**phi
        below = int(wanted // 8) * 8
        nearest = below if wanted - below < 4 else below + 8
        nearest = 8 if nearest < 8 else nearest
        wide.append(nearest + 8 if nearest < 0.9 * wanted else nearest)
    deep = [-int(-(count * alpha**phi) // 1) for count in layers]
    return {"phi": phi, "layers": deep, "channels": wide, "resolution": int(resolution * gamma**phi + 0.5)}
""",
    },
)


def _first(
    order: str = "first.abs().flatten(1).sum(1).argsort(descending=True, stable=True)[:keep]",
    returned: str = "first[order], bias[order], second[:, order]",
) -> str:
    return f"""
def first_channels(first, bias, second, keep):
    order = {order}
    return {returned}
"""


CHANNELS = Answers(
    name="first_channels",
    wrong={
        "smallest first": _first("first.abs().flatten(1).sum(1).argsort(stable=True)[:keep]"),
        "signs add up": _first("first.flatten(1).sum(1).argsort(descending=True, stable=True)[:keep]"),
        "the next layer is not sorted": _first(returned="first[order], bias[order], second[:, :keep]"),
        "the bias is not sorted": _first(returned="first[order], bias[:keep], second[:, order]"),
        "outputs of the next layer": _first(returned="first[order], bias[order], second[order % len(second)]"),
        "the old order stays": _first(
            "first.abs().flatten(1).sum(1).argsort(descending=True, stable=True)[:keep].sort().values"
        ),
        "ties backwards": _first(
            "first.abs().flatten(1).sum(1).flip(0).argsort(stable=True).flip(0)[:keep];"
            " order = len(first) - 1 - first.abs().flatten(1).sum(1).flip(0)"
            ".argsort(descending=True, stable=True)[:keep]"
        ),
        "squares": _first("first.square().flatten(1).sum(1).argsort(descending=True, stable=True)[:keep]"),
        "nothing is cut": _first("first.abs().flatten(1).sum(1).argsort(descending=True, stable=True)"),
        "importance of the next layer": _first(
            "second.abs().sum((0, 2, 3)).argsort(descending=True, stable=True)[:keep]"
        ),
    },
    advice={
        "smallest first": "the largest first",
        "signs add up": "magnitudes",
        "the next layer is not sorted": "second layer reads",
        "the bias is not sorted": "bias moves",
        "outputs of the next layer": "(out, C, ...)",
        "the old order stays": "most important one first",
        "ties backwards": "keep their order",
        "squares": "not of squares",
        "nothing is cut": "only the first `keep`",
        "importance of the next layer": "filters of `first`",
    },
    right={
        "sorted in Python": """
def first_channels(first, bias, second, keep):
    importance = [float(filter.abs().sum()) for filter in first]
    order = sorted(range(len(first)), key=lambda c: -importance[c])[:keep]
    return first[order].clone(), bias[order].clone(), second[:, order].clone()
""",
        "index_select": _first(
            "torch.sort(first.abs().sum(dim=(1, 2, 3)), descending=True, stable=True).indices",
            "(first.index_select(0, order)[:keep], bias.index_select(0, order)[:keep],"
            " second.index_select(1, order)[:, :keep])",
        ),
    },
)


def _statistics(body: str) -> str:
    return f"""
def batchnorm_statistics(batches):
    {body}
"""


STATISTICS = Answers(
    name="batchnorm_statistics",
    wrong={
        "variances averaged": _statistics(
            "x = torch.cat(batches).double(); n = len(x);"
            " v = sum(len(b) / n * b.double().var((0, 2, 3), unbiased=False) for b in batches);"
            " return x.mean((0, 2, 3)).float(), v.float()"
        ),
        "batches averaged": _statistics(
            "m = sum(b.double().mean((0, 2, 3)) for b in batches) / len(batches);"
            " x = torch.cat(batches).double();"
            " return m.float(), (x - m[:, None, None]).square().mean((0, 2, 3)).float()"
        ),
        "one less": _statistics(
            "x = torch.cat(batches).double(); return x.mean((0, 2, 3)).float(), x.var((0, 2, 3)).float()"
        ),
        "standard deviation": _statistics(
            "x = torch.cat(batches).double();"
            " return x.mean((0, 2, 3)).float(), x.std((0, 2, 3), unbiased=False).float()"
        ),
        "over images only": _statistics(
            "x = torch.cat(batches).double(); return x.mean(0).float(), x.var(0, unbiased=False).float()"
        ),
        "one number for all channels": _statistics(
            "x = torch.cat(batches).double(); c = x.shape[1];"
            " return x.mean().float().expand(c), x.var(unbiased=False).float().expand(c)"
        ),
        "single precision": _statistics(
            "x = torch.cat(batches); m = x.mean((0, 2, 3)); return m, x.square().mean((0, 2, 3)) - m.square()"
        ),
        "the last batch": _statistics(
            "x = batches[-1].double(); return x.mean((0, 2, 3)).float(), x.var((0, 2, 3), unbiased=False).float()"
        ),
        "moving average": _statistics(
            "m, v = 0.0, 1.0\n    for b in batches:\n"
            "        m = 0.9 * m + 0.1 * b.double().mean((0, 2, 3))\n"
            "        v = 0.9 * v + 0.1 * b.double().var((0, 2, 3), unbiased=False)\n"
            "    return m.float(), v.float()"
        ),
        "mean square": _statistics(
            "x = torch.cat(batches).double(); return x.mean((0, 2, 3)).float(), x.square().mean((0, 2, 3)).float()"
        ),
    },
    advice={
        "variances averaged": "batches have different means",
        "batches averaged": "same weight",
        "one less": "number of values",
        "standard deviation": "square root",
        "over images only": "ne number for each channel",
        "one number for all channels": "for each channel of its own",
        "single precision": "double precision",
        "the last batch": "all batches",
        "moving average": "no moving average",
        "mean square": "around the mean",
    },
    right={
        "sums": """
def batchnorm_statistics(batches):
    count = sum(b[:, 0].numel() for b in batches)
    mean = sum(b.double().sum((0, 2, 3)) for b in batches) / count
    square = sum((b.double() - mean.view(-1, 1, 1)).square().sum((0, 2, 3)) for b in batches) / count
    return mean.float(), square.float()
""",
        "var_mean": _statistics(
            "v, m = torch.var_mean(torch.cat(batches).double(), dim=(0, 2, 3), correction=0);"
            " return m.float(), v.float()"
        ),
    },
)


def _survivors(body: str) -> str:
    return f"""
def survivors(candidates, limit, count):
    unique = list(dict.fromkeys(candidates))
    {body}
"""


SURVIVORS = Answers(
    name="survivors",
    wrong={
        "limit forgotten": _survivors("return [g for g, s, c in sorted(unique, key=lambda e: -e[1])][:count]"),
        "others thrown away": _survivors(
            "return [g for g, s, c in sorted(unique, key=lambda e: -e[1]) if c <= limit][:count]"
        ),
        "others by score": _survivors(
            "return [g for g, s, c in sorted(unique, key=lambda e: (e[2] > limit, -e[1]))][:count]"
        ),
        "others by high cost": _survivors(
            "return [g for g, s, c in"
            " sorted(unique, key=lambda e: (0, -e[1]) if e[2] <= limit else (1, -e[2]))][:count]"
        ),
        "below the limit": _survivors(
            "return [g for g, s, c in sorted(unique, key=lambda e: (0, -e[1]) if e[2] < limit else (1, e[2]))][:count]"
        ),
        "lowest scores": _survivors(
            "return [g for g, s, c in sorted(unique, key=lambda e: (0, e[1]) if e[2] <= limit else (1, e[2]))][:count]"
        ),
        "repetitions stay": """
def survivors(candidates, limit, count):
    order = sorted(candidates, key=lambda e: (0, -e[1]) if e[2] <= limit else (1, e[2]))
    return [g for g, s, c in order][:count]
""",
        "repetitions go too late": """
def survivors(candidates, limit, count):
    order = sorted(candidates, key=lambda e: (0, -e[1]) if e[2] <= limit else (1, e[2]))
    return list(dict.fromkeys(g for g, s, c in order[:count]))
""",
        "ties by genes": _survivors(
            "return [e[2] for e in sorted(((0, -s, g) if c <= limit else (1, c, g) for g, s, c in unique))][:count]"
        ),
        "whole entries": _survivors(
            "return sorted(unique, key=lambda e: (0, -e[1]) if e[2] <= limit else (1, e[2]))[:count]"
        ),
        "lowest cost first": _survivors("return [g for g, s, c in sorted(unique, key=lambda e: e[2])][:count]"),
    },
    advice={
        "limit forgotten": "before all others",
        "others thrown away": "come after them",
        "others by score": "by their cost",
        "others by high cost": "lowest cost first",
        "below the limit": "xactly the limit",
        "lowest scores": "high score is good",
        "repetitions stay": "survive once",
        "repetitions go too late": "before you count",
        "ties by genes": "keep the order of the list",
        "whole entries": "only the genes",
        "lowest cost first": "ithin the limit, the score",
    },
    right={
        "two lists": """
def survivors(candidates, limit, count):
    within, beyond, seen = [], [], set()
    for genes, score, cost in candidates:
        if genes not in seen:
            seen.add(genes)
            (within if cost <= limit else beyond).append((genes, score, cost))
    within.sort(key=lambda one: one[1], reverse=True)
    beyond.sort(key=lambda one: one[2])
    return [genes for genes, _, _ in within + beyond][:count]
""",
        "by excess": _survivors(
            "return [g for g, s, c in"
            " sorted(unique, key=lambda e: (max(0, e[2] - limit), -e[1] if e[2] <= limit else 0))]"
            "[:count]"
        ),
    },
)


def _front(condition: str, returned: str = "front") -> str:
    return f"""
def pareto_front(accuracy, latency):
    nets, front = list(zip(accuracy, latency)), []
    for i, (a, l) in enumerate(nets):
        if not any({condition} for j, (x, y) in enumerate(nets) if j != i):
            front.append(i)
    return {returned}
"""


FRONT = Answers(
    name="pareto_front",
    wrong={
        "equal nets dominate": _front("x >= a and y <= l"),
        "better in both": _front("x > a and y < l"),
        "ties in accuracy do not dominate": _front("x > a and y <= l"),
        "ties in latency do not dominate": _front("x >= a and y < l"),
        "one of two": _front("(x, y) != (a, l) and (x >= a or y <= l)"),
        "low accuracy is good": _front("x <= a and y <= l and (x, y) != (a, l)"),
        "first of equals": _front("x >= a and y <= l and ((x, y) != (a, l) or j < i)"),
        "the nets": _front("x >= a and y <= l and (x, y) != (a, l)", "[nets[i] for i in front]"),
        "sorted by latency": _front(
            "x >= a and y <= l and (x, y) != (a, l)", "sorted(front, key=lambda i: (latency[i], accuracy[i], -i))"
        ),
        "the dominated ones": _front(
            "x >= a and y <= l and (x, y) != (a, l)", "[i for i in range(len(nets)) if i not in front]"
        ),
        "the best one": """
def pareto_front(accuracy, latency):
    return [max(range(len(accuracy)), key=lambda i: accuracy[i])] if accuracy else []
""",
    },
    advice={
        "equal nets dominate": "do not dominate each other",
        "better in both": "better in one",
        "ties in accuracy do not dominate": "equal in accuracy",
        "ties in latency do not dominate": "equal in latency",
        "one of two": "nowhere worse",
        "low accuracy is good": "igh accuracy is good",
        "first of equals": "kept or dropped together",
        "the nets": "positions",
        "sorted by latency": "rising order",
        "the dominated ones": "not dominated",
        "the best one": "not only the most accurate",
    },
    right={
        "with a sweep": """
def pareto_front(accuracy, latency):
    front, best = [], float("-inf")
    for y in sorted(set(latency)):
        here = [i for i in range(len(latency)) if latency[i] == y]
        top = max(accuracy[i] for i in here)
        if top > best:
            front += [i for i in here if accuracy[i] == top]
            best = top
    return sorted(front)
""",
        "with tensors": """
def pareto_front(accuracy, latency):
    a, l = torch.tensor(accuracy, dtype=torch.float64), torch.tensor(latency, dtype=torch.float64)
    worse = (a[:, None] >= a) & (l[:, None] <= l)
    better = (a[:, None] > a) | (l[:, None] < l)
    return [i for i in range(len(a)) if not (worse & better)[:, i].any()]
""",
    },
)


def _table(
    stride: str = "2 if stage > 0 and number == 0 else 1",
    after: str = "before, size = width, math.ceil(size / stride)",
    added: str = "total += table[block]",
    returned: str = "scale * total + offset",
    first: str = "widths[0]",
) -> str:
    return f"""
import math
def table_latency(table, widths, depths, size, scale, offset):
    total, before = 0.0, {first}
    for stage in range(len(widths)):
        for number in range(depths[stage]):
            width, stride = widths[stage], {stride}
            block = (before, width, size, stride)
            if block not in table:
                raise ValueError(block)
            {added}
            {after}
    return {returned}
"""


TABLE = Answers(
    name="table_latency",
    wrong={
        "stride in the first stage": _table("2 if number == 0 else 1"),
        "stride in every block": _table("2 if stage > 0 else 1"),
        "no stride": _table("1", "before, size = width, size"),
        "rounded down": _table(after="before, size = width, max(1, size // stride)"),
        "the size stays": _table(after="before = width"),
        "inputs of the stage": _table(
            "2 if stage > 0 and number == 0 else 1",
            "size = math.ceil(size / stride);"
            " before = widths[min(stage + 1, len(widths) - 1)]"
            " if number == depths[stage] - 1 else width",
        ),
        "scale after offset": _table(returned="scale * (total + offset)"),
        "no scale": _table(returned="total + offset"),
        "no offset": _table(returned="scale * total"),
        "offset for every block": _table(added="total += table[block] + offset / scale", returned="scale * total"),
        "missing blocks are free": """
import math
def table_latency(table, widths, depths, size, scale, offset):
    total, before = 0.0, widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        for number in range(depth):
            stride = 2 if stage > 0 and number == 0 else 1
            total += table.get((before, width, size, stride), 0.0)
            before, size = width, math.ceil(size / stride)
    return scale * total + offset
""",
        "a KeyError": """
import math
def table_latency(table, widths, depths, size, scale, offset):
    total, before = 0.0, widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        for number in range(depth):
            stride = 2 if stage > 0 and number == 0 else 1
            total += table[before, width, size, stride]
            before, size = width, math.ceil(size / stride)
    return scale * total + offset
""",
        "depth forgotten": """
import math
def table_latency(table, widths, depths, size, scale, offset):
    total, before = 0.0, widths[0]
    for stage, width in enumerate(widths):
        block = (before, width, size, 2 if stage else 1)
        if block not in table:
            raise ValueError(block)
        total += table[block]
        before, size = width, math.ceil(size / 2) if stage else size
    return scale * total + offset
""",
    },
    advice={
        "stride in the first stage": "first stage has no stride",
        "stride in every block": "nly the first block of a stage",
        "no stride": "have stride 2",
        "rounded down": "rounded up",
        "the size stays": "halves the size",
        "inputs of the stage": "channels of the stage before",
        "scale after offset": "added last",
        "no scale": "`scale` is missing",
        "no offset": "`offset` is missing",
        "offset for every block": "once for the whole net",
        "missing blocks are free": "not count as 0",
        "a KeyError": "must raise ValueError",
        "depth forgotten": "all blocks of a stage",
    },
    right={
        "blocks listed first": """
def table_latency(table, widths, depths, size, scale, offset):
    blocks, before = [], widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        if stage == 0:
            blocks += [(width, width, size, 1)] * depth
        else:
            blocks.append((before, width, size, 2))
            size = (size + 1) // 2
            blocks += [(width, width, size, 1)] * (depth - 1)
        before = width
    missing = [block for block in blocks if block not in table]
    if missing:
        raise ValueError(f"not measured: {missing}")
    return offset + scale * sum(table[block] for block in blocks)
""",
        "the error translated": """
def table_latency(table, widths, depths, size, scale, offset):
    before, result = widths[0], offset
    try:
        for stage in range(len(widths)):
            for number in range(depths[stage]):
                stride = 1 + (stage > 0 and number == 0)
                result += scale * table[before, widths[stage], size, stride]
                before, size = widths[stage], -(-size // stride)
    except KeyError as error:
        raise ValueError(f"block {error} was not measured") from error
    return result
""",
    },
)

ANSWERS = {
    "13.1": SCALING, "13.2": CHANNELS, "13.3": STATISTICS, "13.4": SURVIVORS, "13.5": FRONT, "13.6": TABLE,
}  # fmt: skip
