"""Answers to exercise 04 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers

SCORES = Answers(
    name="channel_scores",
    wrong={
        "the producer alone": """
def channel_scores(producer, consumer):
    rows = producer.flatten(1).norm(dim=1)
    return rows / rows.mean() if rows.mean() > 0 else torch.ones_like(rows)
""",
        "not divided by the mean": """
def channel_scores(producer, consumer):
    return (producer.flatten(1).norm(dim=1) + consumer.transpose(0, 1).flatten(1).norm(dim=1)) / 2
""",
        "divided by the mean after adding": """
def channel_scores(producer, consumer):
    total = producer.flatten(1).norm(dim=1) + consumer.transpose(0, 1).flatten(1).norm(dim=1)
    return total / total.mean() if total.mean() > 0 else torch.ones_like(total)
""",
        "the sum of both votes": """
def channel_scores(producer, consumer):
    votes = [producer.flatten(1).norm(dim=1), consumer.transpose(0, 1).flatten(1).norm(dim=1)]
    return sum(vote / vote.mean() if vote.mean() > 0 else torch.ones_like(vote) for vote in votes)
""",
        "L1 instead of L2": """
def channel_scores(producer, consumer):
    votes = [producer.flatten(1).abs().sum(dim=1), consumer.transpose(0, 1).flatten(1).abs().sum(dim=1)]
    return sum(vote / vote.mean() if vote.mean() > 0 else torch.ones_like(vote) for vote in votes) / 2
""",
        "squared norms": """
def channel_scores(producer, consumer):
    votes = [producer.flatten(1).square().sum(dim=1), consumer.transpose(0, 1).flatten(1).square().sum(dim=1)]
    return sum(vote / vote.mean() if vote.mean() > 0 else torch.ones_like(vote) for vote in votes) / 2
""",
        "rows of the consumer": """
def channel_scores(producer, consumer):
    votes = [producer.flatten(1).norm(dim=1), consumer.flatten(1).norm(dim=1)]
    return sum(vote / vote.mean() if vote.mean() > 0 else torch.ones_like(vote) for vote in votes) / 2
""",
        "a silent layer gives NaN": """
def channel_scores(producer, consumer):
    votes = [producer.flatten(1).norm(dim=1), consumer.transpose(0, 1).flatten(1).norm(dim=1)]
    return sum(vote / vote.mean() for vote in votes) / 2
""",
        "divided by the largest": """
def channel_scores(producer, consumer):
    votes = [producer.flatten(1).norm(dim=1), consumer.transpose(0, 1).flatten(1).norm(dim=1)]
    return sum(vote / vote.max() if vote.max() > 0 else torch.ones_like(vote) for vote in votes) / 2
""",
        "ones if either layer is zero": """
def channel_scores(producer, consumer):
    a, b = producer.flatten(1).norm(dim=1), consumer.transpose(0, 1).flatten(1).norm(dim=1)
    if a.sum() == 0 or b.sum() == 0:
        return torch.ones(len(a))
    return (a / a.mean() + b / b.mean()) / 2
""",
    },
    advice={
        "the producer alone": "The consumer has a vote too",
        "not divided by the mean": "Divide the norms of each layer",
        "divided by the mean after adding": "before you add, not after",
        "the sum of both votes": "not their sum",
        "L1 instead of L2": "not a sum of magnitudes",
        "squared norms": "is the root of the sum of squares",
        "rows of the consumer": "slice of the second dimension",
        "a silent layer gives NaN": "no mean to divide by",
        "divided by the largest": "not by the largest",
        "ones if either layer is zero": "the other still votes",
    },
    right={
        "a loop over channels": """
def channel_scores(producer, consumer):
    count = producer.shape[0]
    rows = torch.stack([producer[c].square().sum().sqrt() for c in range(count)])
    columns = torch.stack([consumer[:, c].square().sum().sqrt() for c in range(count)])
    scaled = [v / v.mean() if float(v.mean()) != 0 else torch.ones(count) for v in (rows, columns)]
    return 0.5 * scaled[0] + 0.5 * scaled[1]
""",
        "NumPy": """
import numpy
def channel_scores(producer, consumer):
    one = numpy.linalg.norm(producer.numpy().reshape(producer.shape[0], -1), axis=1)
    two = numpy.linalg.norm(numpy.moveaxis(consumer.numpy(), 1, 0).reshape(consumer.shape[1], -1), axis=1)
    votes = [v / v.mean() if v.any() else numpy.ones_like(v) for v in (one, two)]
    return torch.from_numpy(numpy.mean(votes, axis=0))
""",
    },
)

COUNT = """
    count = min(len(scores), max(multiple, multiple * math.floor(ratio * len(scores) / multiple + 0.5)))
"""
KEEP = Answers(
    name="channels_to_keep",
    wrong={
        "the least important": f"""
def channels_to_keep(scores, ratio, multiple):{COUNT}
    return sorted(scores.argsort(stable=True)[:count].tolist())
""",
        "in order of importance": f"""
def channels_to_keep(scores, ratio, multiple):{COUNT}
    return scores.argsort(descending=True, stable=True)[:count].tolist()
""",
        "rounds down": """
def channels_to_keep(scores, ratio, multiple):
    count = min(len(scores), max(multiple, multiple * int(ratio * len(scores) / multiple)))
    return sorted(scores.argsort(descending=True, stable=True)[:count].tolist())
""",
        "ignores the multiple": """
def channels_to_keep(scores, ratio, multiple):
    count = min(len(scores), max(1, math.floor(ratio * len(scores) + 0.5)))
    return sorted(scores.argsort(descending=True, stable=True)[:count].tolist())
""",
        "leaves none": """
def channels_to_keep(scores, ratio, multiple):
    count = min(len(scores), multiple * math.floor(ratio * len(scores) / multiple + 0.5))
    return sorted(scores.argsort(descending=True, stable=True)[:count].tolist())
""",
        "Python's round sends halves to even numbers": """
def channels_to_keep(scores, ratio, multiple):
    count = min(len(scores), max(multiple, multiple * round(ratio * len(scores) / multiple)))
    return sorted(scores.argsort(descending=True, stable=True)[:count].tolist())
""",
        "of equals the higher index stays": f"""
def channels_to_keep(scores, ratio, multiple):{COUNT}
    return sorted(scores.argsort(stable=True)[len(scores) - count :].tolist())
""",
        "a tensor": f"""
def channels_to_keep(scores, ratio, multiple):{COUNT}
    return scores.argsort(descending=True, stable=True)[:count].sort().values
""",
        "the ratio that goes": """
def channels_to_keep(scores, ratio, multiple):
    count = min(len(scores), max(multiple, multiple * math.floor((1 - ratio) * len(scores) / multiple + 0.5)))
    return sorted(scores.argsort(descending=True, stable=True)[:count].tolist())
""",
    },
    advice={
        "the least important": "these are the lowest",
        "in order of importance": "in increasing order, not in order of importance",
        "rounds down": "do not always round down",
        "ignores the multiple": "multiple of `multiple`",
        "leaves none": "at least one `multiple`",
        "Python's round sends halves to even numbers": "round() takes the even one",
        "of equals the higher index stays": "lower index stays",
        "a tensor": "return a list of indices",
        "the ratio that goes": "not the one that goes",
    },
    right={
        "sorted pairs": """
def channels_to_keep(scores, ratio, multiple):
    wanted = ratio * len(scores) / multiple
    whole = int(wanted) + (1 if wanted - int(wanted) >= 0.5 else 0)
    count = min(max(whole * multiple, multiple), len(scores))
    pairs = sorted(((-value, place) for place, value in enumerate(scores.tolist())))
    return sorted(place for _, place in pairs[:count])
""",
        "a mask": f"""
def channels_to_keep(scores, ratio, multiple):{COUNT}
    mask = torch.zeros(len(scores), dtype=torch.bool)
    mask[torch.sort(scores, descending=True, stable=True).indices[:count]] = True
    return mask.nonzero().flatten().tolist()
""",
    },
)

SHRINK_START = """
def shrink(state, stem, inner):
    places = [4 * c + p for c in stem for p in range(4)]
    small = dict(state)
    for n in ("1", "3"):
        for part in ("weight", "bias", "running_mean", "running_var"):
            small[f"bn{n}.{part}"] = state[f"bn{n}.{part}"][stem]
    for part in ("weight", "bias", "running_mean", "running_var"):
        small[f"bn2.{part}"] = state[f"bn2.{part}"][inner]
    small["conv1.weight"] = state["conv1.weight"][stem]
    small["conv2.weight"] = state["conv2.weight"][inner][:, stem]
    small["conv3.weight"] = state["conv3.weight"][stem][:, inner]
    small["fc.weight"] = state["fc.weight"][:, places]
"""
SHRINK = Answers(
    name="shrink",
    wrong={
        "the second convolution of the block keeps its outputs": SHRINK_START
        + """
    small["conv3.weight"] = state["conv3.weight"][:, inner]
    return small
""",
        "the block's inputs stay": SHRINK_START
        + """
    small["conv2.weight"] = state["conv2.weight"][inner]
    return small
""",
        "running statistics are forgotten": SHRINK_START
        + """
    for n in ("1", "2", "3"):
        small[f"bn{n}.running_mean"] = state[f"bn{n}.running_mean"]
        small[f"bn{n}.running_var"] = state[f"bn{n}.running_var"]
    return small
""",
        "the flatten is forgotten": SHRINK_START
        + """
    small["fc.weight"] = state["fc.weight"][:, stem]
    return small
""",
        "pixels come first in the flatten": SHRINK_START
        + """
    small["fc.weight"] = state["fc.weight"][:, [8 * p + c for p in range(4) for c in stem]]
    return small
""",
        "the last norm belongs to the block": SHRINK_START
        + """
    for part in ("weight", "bias", "running_mean", "running_var"):
        small[f"bn3.{part}"] = state[f"bn3.{part}"][inner]
    return small
""",
        "the first channels stay": SHRINK_START
        + """
    for name in small:
        if small[name].dim():
            small[name] = state[name][tuple(slice(0, size) for size in small[name].shape)]
    return small
""",
        "the answers are cut too": SHRINK_START
        + """
    small["fc.bias"] = state["fc.bias"][: len(stem)]
    return small
""",
        "the counter of BatchNorm is dropped": SHRINK_START
        + """
    return {name: tensor for name, tensor in small.items() if "num_batches" not in name}
""",
    },
    advice={
        "the second convolution of the block keeps its outputs": "conv3 puts its result into the stream",
        "the block's inputs stay": "conv2 reads the stream",
        "running statistics are forgotten": "running statistics of a norm",
        "the flatten is forgotten": "four columns of each channel",
        "pixels come first in the flatten": "channel by channel",
        "the last norm belongs to the block": "bn3 normalises what goes into the stream",
        "the first channels stay": "not the first ones",
        "the answers are cut too": "five classes remain",
        "the counter of BatchNorm is dropped": "num_batches_tracked stays",
    },
    right={
        "layer by layer": SHRINK_START + "\n    return small\n",
        "index_select and a table": """
def shrink(state, stem, inner):
    wide = torch.tensor([c * 4 + p for c in stem for p in range(4)])
    stem, inner = torch.tensor(stem), torch.tensor(inner)
    rows = {"conv1": stem, "bn1": stem, "conv2": inner, "bn2": inner, "conv3": stem, "bn3": stem}
    columns = {"conv2": stem, "conv3": inner, "fc": wide}
    small = {}
    for name, tensor in state.items():
        layer = name.split(".")[0]
        if layer in rows and tensor.dim() > 0:
            tensor = tensor.index_select(0, rows[layer])
        if layer in columns and tensor.dim() > 1:
            tensor = tensor.index_select(1, columns[layer])
        small[name] = tensor.clone()
    return small
""",
    },
)

HEADS = Answers(
    name="keep_heads",
    wrong={
        "rows instead of blocks": """
def keep_heads(layer, heads, keep):
    small = {name: tensor[keep] for name, tensor in layer.items() if not name.startswith("output")}
    return small | {"output.weight": layer["output.weight"][:, keep], "output.bias": layer["output.bias"]}
""",
        "heads interleaved": """
def keep_heads(layer, heads, keep):
    size = len(layer["query.bias"]) // heads
    rows = [offset * heads + head for head in keep for offset in range(size)]
    small = {name: tensor[rows] for name, tensor in layer.items() if not name.startswith("output")}
    return small | {"output.weight": layer["output.weight"][:, rows], "output.bias": layer["output.bias"]}
""",
        "the output layer loses rows": """
def keep_heads(layer, heads, keep):
    size = len(layer["query.bias"]) // heads
    rows = [head * size + offset for head in keep for offset in range(size)]
    small = {name: tensor[rows] for name, tensor in layer.items() if not name.startswith("output")}
    rows = [row for row in rows if row < len(layer["output.bias"])]
    return small | {"output.weight": layer["output.weight"][rows], "output.bias": layer["output.bias"][rows]}
""",
        "the output layer stays": """
def keep_heads(layer, heads, keep):
    size = len(layer["query.bias"]) // heads
    rows = [head * size + offset for head in keep for offset in range(size)]
    return {name: tensor if name.startswith("output") else tensor[rows] for name, tensor in layer.items()}
""",
        "biases are forgotten": """
def keep_heads(layer, heads, keep):
    size = len(layer["query.bias"]) // heads
    rows = [head * size + offset for head in keep for offset in range(size)]
    small = dict(layer)
    for name in ("query", "key", "value"):
        small[f"{name}.weight"] = layer[f"{name}.weight"][rows]
    small["output.weight"] = layer["output.weight"][:, rows]
    return small
""",
        "the kept heads go": """
def keep_heads(layer, heads, keep):
    size = len(layer["query.bias"]) // heads
    rows = [head * size + offset for head in range(heads) if head not in keep for offset in range(size)]
    small = {name: tensor[rows] for name, tensor in layer.items() if not name.startswith("output")}
    return small | {"output.weight": layer["output.weight"][:, rows], "output.bias": layer["output.bias"]}
""",
        "the value keeps all heads": """
def keep_heads(layer, heads, keep):
    size = len(layer["query.bias"]) // heads
    rows = [head * size + offset for head in keep for offset in range(size)]
    small = dict(layer)
    for name in ("query", "key"):
        for part in ("weight", "bias"):
            small[f"{name}.{part}"] = layer[f"{name}.{part}"][rows]
    small["output.weight"] = layer["output.weight"][:, rows]
    return small
""",
        "whichever dimension fits": """
def keep_heads(layer, heads, keep):
    size = len(layer["query.bias"]) // heads
    rows = [head * size + offset for head in keep for offset in range(size)]
    small = {}
    for name, tensor in layer.items():
        if tensor.shape[0] == heads * size and name != "output.bias":
            small[name] = tensor[rows]
        elif tensor.dim() > 1:
            small[name] = tensor[:, rows]
        else:
            small[name] = tensor
    return small
""",
    },
    advice={
        "rows instead of blocks": "not a single row",
        "heads interleaved": "are neighbours",
        "the output layer loses rows": "columns, not rows",
        "the output layer stays": "loses the same columns",
        "biases are forgotten": "biases of query, key and value",
        "the kept heads go": "names the heads that stay",
        "the value keeps all heads": "value layer has heads too",
        "whichever dimension fits": "also where its weight is square",
    },
    right={
        "views by head": """
def keep_heads(layer, heads, keep):
    small = {}
    for name, tensor in layer.items():
        if name == "output.bias":
            small[name] = tensor
        elif name == "output.weight":
            small[name] = tensor.reshape(len(tensor), heads, -1)[:, keep].reshape(len(tensor), -1)
        else:
            small[name] = tensor.reshape(heads, -1, *tensor.shape[1:])[keep].reshape(-1, *tensor.shape[1:])
    return small
""",
        "chunks joined again": """
def keep_heads(layer, heads, keep):
    def pick(tensor, dimension):
        blocks = torch.chunk(tensor, heads, dim=dimension)
        return torch.cat([blocks[head] for head in keep], dim=dimension)
    small = {name: pick(tensor, 0) for name, tensor in layer.items() if name[0] in "qkv"}
    small["output.weight"] = pick(layer["output.weight"], 1)
    small["output.bias"] = layer["output.bias"].clone()
    return small
""",
    },
)

TWO_FOUR = Answers(
    name="two_four_mask",
    wrong={
        "no absolute value": """
def two_four_mask(weight):
    order = weight.reshape(len(weight), -1, 4).argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros(order.shape, dtype=torch.bool).scatter(-1, order[..., :2], True)
    return mask.reshape(weight.shape)
""",
        "the smaller two stay": """
def two_four_mask(weight):
    order = weight.abs().reshape(len(weight), -1, 4).argsort(dim=-1, stable=True)
    mask = torch.zeros(order.shape, dtype=torch.bool).scatter(-1, order[..., :2], True)
    return mask.reshape(weight.shape)
""",
        "half of the row": """
def two_four_mask(weight):
    order = weight.abs().argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    return mask.scatter(-1, order[:, : weight.shape[1] // 2], True)
""",
        "fours along the outputs": """
def two_four_mask(weight):
    order = weight.T.reshape(-1, 4).abs().argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros(order.shape, dtype=torch.bool).scatter(-1, order[..., :2], True)
    return mask.reshape(weight.T.shape).T
""",
        "a threshold keeps equals": """
def two_four_mask(weight):
    fours = weight.abs().reshape(len(weight), -1, 4)
    return (fours >= fours.sort(dim=-1, descending=True).values[..., 1:2]).reshape(weight.shape)
""",
        "one of four": """
def two_four_mask(weight):
    order = weight.abs().reshape(len(weight), -1, 4).argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros(order.shape, dtype=torch.bool).scatter(-1, order[..., :1], True)
    return mask.reshape(weight.shape)
""",
        "of equals the right one stays": """
def two_four_mask(weight):
    order = weight.abs().reshape(len(weight), -1, 4).argsort(dim=-1, stable=True)
    mask = torch.zeros(order.shape, dtype=torch.bool).scatter(-1, order[..., 2:], True)
    return mask.reshape(weight.shape)
""",
        "numbers instead of booleans": """
def two_four_mask(weight):
    order = weight.abs().reshape(len(weight), -1, 4).argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros(order.shape).scatter(-1, order[..., :2], 1.0)
    return mask.reshape(weight.shape)
""",
        "every second weight": """
def two_four_mask(weight):
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    mask[:, ::2] = True
    return mask
""",
        "the course's own function": "from course_lib.pruning import two_four_mask\n",
    },
    advice={
        "no absolute value": "take abs() first",
        "the smaller two stay": "not the two smallest",
        "half of the row": "not half of a whole row",
        "fours along the outputs": "along the inputs",
        "a threshold keeps equals": "keeps all equal magnitudes",
        "one of four": "Two of each four",
        "of equals the right one stays": "further to the left stay",
        "numbers instead of booleans": "not numbers",
        "every second weight": "not the same in every four",
        "the course's own function": "uses `course_lib.pruning",
    },
    right={
        "sorted in plain Python": """
def two_four_mask(weight):
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], 4):
            four = [(-abs(weight[row, start + place].item()), place) for place in range(4)]
            for _, place in sorted(four)[:2]:
                mask[row, start + place] = True
    return mask
""",
        "ranks": """
def two_four_mask(weight):
    fours = weight.abs().unflatten(1, (-1, 4))
    order = torch.sort(fours, dim=-1, descending=True, stable=True).indices
    ranks = order.argsort(dim=-1)
    return (ranks < 2).flatten(1)
""",
    },
)

WIDTHS = Answers(
    name="widths",
    wrong={
        "the same share of both": """
def widths():
    return 130, 45
""",
        "nothing removed": """
def widths():
    return 300, 100
""",
        "the second layer alone": """
def widths():
    return 300, 10
""",
        "too much of the first": """
def widths():
    return 40, 100
""",
        "fractions": """
def widths():
    return 0.4, 0.8
""",
        "more than there are": """
def widths():
    return 100, 300
""",
        "three numbers": """
def widths():
    return 120, 80, 10
""",
        "what it should reach instead of widths": """
def widths():
    return {"work": 0.4, "accuracy": 0.83}
""",
    },
    advice={
        "the same share of both": "make it narrower",
        "nothing removed": "make it narrower",
        "the second layer alone": "make it narrower",
        "too much of the first": "The first layer lost too many",
        "fractions": "expected a whole number",
        "more than there are": "First layer first",
        "three numbers": "return two values",
        "what it should reach instead of widths": "return two values",
    },
    right={
        "a list": """
def widths():
    return [118, 90]
""",
        "worked out from the budget": """
def widths():
    budget = 0.4 * (784 * 300 + 300 * 100 + 100 * 10)
    second = 80
    return int((budget - 10 * second) // (784 + second)), second
""",
    },
)

ANSWERS = {
    "04.1": SCORES, "04.2": KEEP, "04.3": SHRINK, "04.4": HEADS, "04.5": TWO_FOUR, "04.6": WIDTHS,
}  # fmt: skip
