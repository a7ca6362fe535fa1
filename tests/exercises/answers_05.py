"""Answers to exercise 05 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers


def symmetric(scale="weight.abs().max() / qmax", integers="torch.round(weight / scale).clamp(-qmax - 1, qmax)", **how):
    last = how.get("last", "return integers.to(torch.int32), float(scale)")
    zero = how.get("zero", "scale = scale if scale > 0 else torch.tensor(1.0)")
    return f"""
def quantize_symmetric(weight, bits):
    qmax = 2 ** (bits - 1) - 1
    scale = {scale}
    {zero}
    integers = {integers}
    {last}
"""


SYMMETRIC = Answers(
    name="quantize_symmetric",
    wrong={
        "no absolute value": symmetric(scale="weight.max().clamp(min=1e-3) / qmax"),
        "as many stairs as integers": symmetric(scale="weight.abs().max() / 2 ** (bits - 1)"),
        "cut off instead of rounded": symmetric(integers="(weight / scale).clamp(-qmax - 1, qmax)"),
        "rounded down": symmetric(integers="torch.floor(weight / scale).clamp(-qmax - 1, qmax)"),
        "halves away from zero": symmetric(integers="torch.sign(weight) * torch.floor(weight.abs() / scale + 0.5)"),
        "unsigned": symmetric(integers="(torch.round(weight / scale) + qmax + 1).clamp(0, 2 * qmax + 1)"),
        "zeros divided by zero": symmetric(zero="pass"),
        "floats": symmetric(last="return integers, float(scale)"),
        "a scale for each row": symmetric(
            scale="(weight.abs().flatten(1).amax(1) if weight.dim() > 1 else weight.abs()).max() / qmax * 1.01"
        ),
        "swapped": symmetric(last="return float(scale), integers.to(torch.int32)"),
        "changes its input": symmetric(
            integers="torch.round(weight.div_(scale)).clamp(-qmax - 1, qmax)",
            last="return integers.int(), float(scale)",
        ),
    },
    advice={
        "no absolute value": "take abs() first",
        "as many stairs as integers": "not 2**(bits-1)",
        "cut off instead of rounded": "the cast alone cuts off",
        "rounded down": "not always down",
        "halves away from zero": "Halves go to the even neighbour",
        "unsigned": "signed: zero stays 0",
        "zeros divided by zero": "zeros gets the scale 1",
        "floats": "to(torch.int32)",
        "a scale for each row": "max(abs(weight)) divided by the largest integer",
        "swapped": "The integers come first",
        "changes its input": "changed its input",
    },
    right={
        "without a clamp": symmetric(integers="torch.round(weight / scale)"),
        "with a clamp": symmetric(),
        "NumPy": """
import numpy
def quantize_symmetric(weight, bits):
    values = weight.numpy()
    qmax = 2 ** (bits - 1) - 1
    scale = float(numpy.abs(values).max()) / qmax or 1.0
    return torch.from_numpy(numpy.rint(values / numpy.float32(scale)).astype("int32")), scale
""",
        "in plain Python": """
def quantize_symmetric(weight, bits):
    qmax = 2 ** (bits - 1) - 1
    numbers = weight.flatten().tolist()
    scale = max(abs(number) for number in numbers) / qmax or 1.0
    return torch.tensor([round(number / scale) for number in numbers], dtype=torch.int32).reshape(weight.shape), scale
""",
    },
)


def asymmetric(widen="low, high = min(low, 0.0), max(high, 0.0)", scale="(high - low) / (2 ** bits - 1)", **how):
    zero = how.get("zero", "max(0, min(2 ** bits - 1, round(-low / scale)))")
    empty = how.get("empty", "if low == high:\n        return 1.0, 0")
    return f"""
def scale_and_zero_point(low, high, bits):
    {widen}
    {empty}
    scale = {scale}
    return scale, {zero}
"""


ASYMMETRIC = Answers(
    name="scale_and_zero_point",
    wrong={
        "zero not in the range": asymmetric(widen="pass"),
        "as many steps as integers": asymmetric(scale="(high - low) / 2 ** bits"),
        "the wrong sign": asymmetric(zero="round(low / scale)"),
        "no integer": asymmetric(zero="-low / scale"),
        "cut off": asymmetric(zero="int(-low / scale)"),
        "from the high end": asymmetric(zero="round(high / scale)"),
        "signed": asymmetric(zero="round(-low / scale) - 2 ** (bits - 1)"),
        "no width": asymmetric(empty="pass"),
        "only the high end is widened": asymmetric(widen="high = max(high, 0.0)"),
    },
    advice={
        "zero not in the range": "must contain zero",
        "as many steps as integers": "2**bits - 1 steps",
        "the wrong sign": "mind the sign",
        "no integer": "an int, got",
        "cut off": "do not cut it off",
        "from the high end": "not from the high end",
        "signed": "they are not signed",
        "no width": "A range without width gives (1.0, 0)",
        "only the high end is widened": "must contain zero",
    },
    right={
        "in single precision, as the course's own choose_params": """
def scale_and_zero_point(low, high, bits):
    low, high = torch.tensor(low).clamp(max=0), torch.tensor(high).clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    if scale == 0:
        return 1.0, 0
    return scale.item(), int((-low / scale).round().clamp(0, 2**bits - 1))
""",
        "with torch": """
def scale_and_zero_point(low, high, bits):
    ends = torch.tensor([low, high, 0.0], dtype=torch.float64)
    width = ends.max() - ends.min()
    if width == 0:
        return 1.0, 0
    scale = width / (2**bits - 1)
    return scale.item(), int(torch.round(-ends.min() / scale))
""",
        "by cases": """
def scale_and_zero_point(low, high, bits):
    steps = 2**bits - 1
    if low == high == 0:
        return 1.0, 0
    if low >= 0:
        return high / steps, 0
    if high <= 0:
        return -low / steps, steps
    return (high - low) / steps, round(-low * steps / (high - low))
""",
    },
)


def groups(shape="weight.reshape(len(weight), -1, group_size)", qmax="2 ** (bits - 1) - 1", **how):
    largest = how.get("largest", "runs.abs().amax(dim=2)")
    zero = how.get("zero", "scale[scale == 0] = 1")
    last = how.get("last", "return integers.reshape(weight.shape).to(torch.int32), scale")
    divided = how.get("divided", "runs / scale[:, :, None]")
    return f"""
def group_quantize(weight, bits, group_size):
    qmax = {qmax}
    runs = {shape}
    scale = {largest} / qmax
    {zero}
    integers = torch.round({divided}).clamp(-qmax - 1, qmax)
    {last}
"""


GROUPS = Answers(
    name="group_quantize",
    wrong={
        "groups down the columns": """
def group_quantize(weight, bits, group_size):
    qmax = 2 ** (bits - 1) - 1
    runs = weight.reshape(len(weight), group_size, -1).transpose(1, 2)
    scale = runs.abs().amax(dim=2) / qmax
    scale[scale == 0] = 1
    integers = torch.round(runs / scale[:, :, None]).clamp(-qmax - 1, qmax)
    return integers.transpose(1, 2).reshape(weight.shape).to(torch.int32), scale
""",
        "one scale for a row": groups(largest="runs.abs().amax(dim=(1, 2)).repeat(runs.shape[1], 1).T.clone()"),
        "no absolute value": groups(largest="runs.amax(dim=2)", zero="scale[scale <= 0] = 1"),
        "zeros divided by zero": groups(zero="pass"),
        "another largest integer": groups(qmax="2 ** (bits - 1)"),
        "the values instead of the integers": groups(
            last="return (integers * scale[:, :, None]).reshape(weight.shape), scale"
        ),
        "shape of the groups": groups(last="return integers.to(torch.int32), scale"),
        "scales in one row": groups(last="return integers.reshape(weight.shape).to(torch.int32), scale.flatten()"),
        "cut off": groups(last="return (runs / scale[:, :, None]).reshape(weight.shape).to(torch.int32), scale"),
    },
    advice={
        "groups down the columns": "not every n-th entry",
        "one scale for a row": "not one for the row",
        "no absolute value": "take abs() first",
        "zeros divided by zero": "A group of zeros gets the scale 1",
        "another largest integer": "not 2**(bits-1)",
        "the values instead of the integers": "not the rounded values",
        "shape of the groups": "shape of the matrix again",
        "scales in one row": "[rows, columns // group_size]",
        "cut off": "the cast alone cuts off",
    },
    right={
        "group by group": """
def group_quantize(weight, bits, group_size):
    qmax = 2 ** (bits - 1) - 1
    integers, scales = torch.zeros(weight.shape, dtype=torch.int32), []
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], group_size):
            run = weight[row, start : start + group_size]
            scale = (run.abs().max() / qmax).item() or 1.0
            integers[row, start : start + group_size] = torch.round(run / scale).int()
            scales.append(scale)
    return integers, torch.tensor(scales).reshape(len(weight), -1)
""",
        "scales spread out": """
def group_quantize(weight, bits, group_size):
    qmax = 2 ** (bits - 1) - 1
    runs = weight.unflatten(1, (-1, group_size))
    scale = runs.abs().max(dim=-1).values / qmax
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    spread = scale.repeat_interleave(group_size, dim=1)
    return (weight / spread).round().clamp(-qmax - 1, qmax).to(torch.int32), scale
""",
    },
)


def kmeans(**how):
    assign = how.get("assign", "(values[:, None] - centroids[None]).abs().argmin(dim=1)")
    move = how.get("move", "if (codes == k).any():\n                centroids[k] = values[codes == k].mean()")
    rounds = how.get("rounds", "range(steps)")
    start = how.get("start", "centroids.clone()")
    last = how.get("last", "codes = nearest(centroids)")
    return f"""
def kmeans(weight, centroids, steps):
    values, centroids = weight.detach().flatten(), {start}
    def nearest(centroids):
        return {assign}
    codes = nearest(centroids)
    for _ in {rounds}:
        codes = nearest(centroids)
        for k in range(len(centroids)):
            {move}
    {last}
    return codes.reshape(weight.shape), centroids
"""


KMEANS = Answers(
    name="kmeans",
    wrong={
        "codes of the round before": kmeans(last="pass"),
        "a mean of nothing": kmeans(move="centroids[k] = values[codes == k].mean()"),
        "the middle between the ends": kmeans(
            move="if (codes == k).any():\n                "
            "centroids[k] = (values[codes == k].min() + values[codes == k].max()) / 2"
        ),
        "one round too many": kmeans(rounds="range(steps + 1)"),
        "the start is changed": kmeans(start="centroids"),
        "without absolute value": kmeans(assign="(values[:, None] - centroids[None]).argmin(dim=1)"),
        "the farthest": kmeans(assign="(values[:, None] - centroids[None]).abs().argmax(dim=1)"),
        "one row of codes": kmeans().replace("codes.reshape(weight.shape)", "codes.flatten()[None]"),
        "the values instead of the codes": kmeans().replace("codes.reshape(weight.shape)", "centroids[codes]"),
        "no update": kmeans(rounds="range(0)"),
    },
    advice={
        "codes of the round before": "assign again after the last update",
        "a mean of nothing": "has no mean: it does not move",
        "the middle between the ends": "not to the middle",
        "one round too many": "one round too many",
        "the start is changed": "changed its input",
        "without absolute value": "take abs() of the difference",
        "the farthest": "not to the farthest",
        "one row of codes": "shape of the weight",
        "the values instead of the codes": "not the values",
        "no update": "have not moved",
    },
    right={
        "squares": kmeans(assign="torch.stack([(values - c) ** 2 for c in centroids]).argmin(dim=0)"),
        "with bincount": """
def kmeans(weight, centroids, steps):
    values = weight.detach().flatten().double()
    centroids = centroids.double()
    for _ in range(steps):
        codes = torch.cdist(values[:, None], centroids[:, None]).argmin(1)
        count = torch.bincount(codes, minlength=len(centroids))
        total = torch.bincount(codes, values, minlength=len(centroids))
        centroids = torch.where(count > 0, total / count.clamp(min=1), centroids)
    codes = (values[:, None] - centroids).abs().argmin(1)
    return codes.view(weight.shape), centroids.float()
""",
    },
)

BITS = Answers(
    name="bits_per_layer",
    wrong={
        "the same everywhere": "def bits_per_layer():\n    return 3, 3, 3\n",
        "two bits everywhere": "def bits_per_layer():\n    return 2, 2, 2\n",
        "the wrong layer starved": "def bits_per_layer():\n    return 2, 8, 8\n",
        "eight bits": "def bits_per_layer():\n    return 8, 8, 8\n",
        "one bit": "def bits_per_layer():\n    return 3, 1, 8\n",
        "two numbers": "def bits_per_layer():\n    return 3, 2\n",
        "fractions": "def bits_per_layer():\n    return 2.9, 2.9, 2.9\n",
        "last layer first": "def bits_per_layer():\n    return 8, 2, 3\n",
    },
    advice={
        "the same everywhere": "The first layer holds most of the weights",
        "two bits everywhere": "too few for the first layer",
        "the wrong layer starved": "too few for the first layer",
        "eight bits": "The first layer holds most of the weights",
        "one bit": "from 2 to 8",
        "two numbers": "return three values",
        "fractions": "expected a whole number",
        "last layer first": "The first layer holds most of the weights",
    },
    right={
        "a list": "def bits_per_layer():\n    return [3, 2, 5]\n",
        "searched": """
def bits_per_layer():
    first, second, third = 235200, 30000, 1000
    choices = [(3, b, c) for b in (3, 2) for c in (6, 8)]
    fits = [one for one in choices if 3 * first + one[1] * second + one[2] * third <= 2.95 * 266200]
    return fits[0]
""",
    },
)

ANSWERS = {"05.1": SYMMETRIC, "05.2": ASYMMETRIC, "05.3": GROUPS, "05.4": KMEANS, "05.5": BITS}
