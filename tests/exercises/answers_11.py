"""Answers to exercise 11 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers


def _rank(expression: str) -> str:
    return f"""
import math
def break_even_rank(rows, columns):
    return {expression}
"""


BREAK_EVEN = Answers(
    name="break_even_rank",
    wrong={
        "equal counts as smaller": _rank("rows * columns // (rows + columns)"),
        "rounded": _rank("round(rows * columns / (rows + columns))"),
        "rounded up": _rank("math.ceil(rows * columns / (rows + columns))"),
        "half of the shorter side": _rank("min(rows, columns) // 2"),
        "the shorter side": _rank("min(rows, columns)"),
        "never below one": _rank("max(1, math.ceil(rows * columns / (rows + columns)) - 1)"),
        "one too low": _rank("max(0, rows * columns // (rows + columns) - 1)"),
        "a fraction": _rank("rows * columns / (rows + columns)"),
        "hard-coded": _rank("460"),
    },
    advice={
        "equal counts as smaller": "equal is not smaller",
        "rounded": "Do not round to the nearest",
        "rounded up": "ound down",
        "half of the shorter side": "only for a square matrix",
        "the shorter side": "full rank",
        "never below one": "the answer is 0",
        "one too low": "One more still holds fewer",
        "a fraction": "whole number",
        "hard-coded": "depends on rows and columns",
    },
    right={
        "a loop": """
def break_even_rank(rows, columns):
    rank = 0
    while (rank + 1) * (rows + columns) < rows * columns:
        rank += 1
    return rank
""",
        "one number less": _rank("(rows * columns - 1) // (rows + columns)"),
    },
)


def _layer(body: str) -> str:
    return f"""
def svd_layer(layer, rank):
    U, S, V = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    bias = layer.bias is not None
    first = nn.Linear(layer.in_features, rank, bias=False)
    second = nn.Linear(rank, layer.out_features, bias=bias)
    {body}
    if bias:
        second.bias.data = layer.bias.detach().clone()
    return nn.Sequential(first, second)
"""


PAIR = Answers(
    name="svd_layer",
    wrong={
        "singular values twice": _layer(
            "first.weight.data = S[:rank, None] * V[:rank]; second.weight.data = U[:, :rank] * S[:rank]"
        ),
        "no singular values": _layer("first.weight.data = V[:rank].clone(); second.weight.data = U[:, :rank].clone()"),
        "the smallest ones": _layer(
            "first.weight.data = V[-rank:].clone(); second.weight.data = U[:, -rank:] * S[-rank:]"
        ),
        "rows of U": _layer(
            "first.weight.data = V[:rank].clone(); second.weight.data = (U.T[:, :rank] * S[:rank])"
            " if U.shape[0] == U.shape[1] else U[:, :rank].flip(0) * S[:rank]"
        ),
        "bias twice": """
def svd_layer(layer, rank):
    U, S, V = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    first, second = nn.Linear(layer.in_features, rank), nn.Linear(rank, layer.out_features)
    first.weight.data, second.weight.data = V[:rank].clone(), U[:, :rank] * S[:rank]
    if layer.bias is not None:
        second.bias.data = layer.bias.detach().clone()
    return nn.Sequential(first, second)
""",
        "bias lost": """
def svd_layer(layer, rank):
    U, S, V = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    first, second = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)
    first.weight.data, second.weight.data = V[:rank].clone(), U[:, :rank] * S[:rank]
    return nn.Sequential(first, second)
""",
        "a ReLU between": _layer(
            "first.weight.data = S[:rank, None] * V[:rank]; second.weight.data = U[:, :rank].clone();"
            " first = nn.Sequential(first, nn.ReLU())"
        ),
        "one layer of that rank": """
def svd_layer(layer, rank):
    U, S, V = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    layer.weight.data = U[:, :rank] * S[:rank] @ V[:rank]
    return layer
""",
        "untrained layers": """
def svd_layer(layer, rank):
    bias = layer.bias is not None
    return nn.Sequential(
        nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=bias)
    )
""",
        "the original's bias itself": """
def svd_layer(layer, rank):
    U, S, V = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    pair = nn.Sequential(
        nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
    )
    pair[0].weight.data, pair[1].weight.data = S[:rank, None] * V[:rank], U[:, :rank].clone()
    if layer.bias is not None:
        pair[1].bias = layer.bias
    return pair
""",
    },
    advice={
        "singular values twice": "counts once",
        "no singular values": "singular values are missing",
        "the smallest ones": "not the smallest",
        "rows of U": "V is already transposed",
        "bias twice": "second layer only",
        "bias lost": "is missing in the second layer",
        "a ReLU between": "Put nothing between",
        "one layer of that rank": "return two linear layers",
        "untrained layers": "Keep the largest singular values",
        "the original's bias itself": "layer.bias.detach().clone()",
    },
    right={
        "singular values first": _layer(
            "first.weight.data = S[:rank, None] * V[:rank]; second.weight.data = U[:, :rank].clone()"
        ),
        "by the eigenvectors": """
def svd_layer(layer, rank):
    weight = layer.weight.detach().double()
    directions = torch.linalg.eigh(weight @ weight.T).eigenvectors[:, -rank:].float()
    pair = nn.Sequential(
        nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
    )
    with torch.no_grad():
        pair[0].weight.copy_(directions.T @ layer.weight)
        pair[1].weight.copy_(directions)
        if layer.bias is not None:
            pair[1].bias.copy_(layer.bias)
    return pair
""",
    },
)


def _energy(expression: str, zeros: str = "1") -> str:
    return f"""
def rank_for_energy(weight, share):
    values = torch.linalg.svdvals(weight.detach().flatten(1).double())
    if values.sum() == 0:
        return {zeros}
    kept = values.square().cumsum(0) / values.square().sum()
    return {expression}
"""


ENERGY = Answers(
    name="rank_for_energy",
    wrong={
        "not squared": """
def rank_for_energy(weight, share):
    values = torch.linalg.svdvals(weight.detach().flatten(1))
    if values.sum() == 0:
        return 1
    return int((values.cumsum(0) / values.sum() < share).sum()) + 1
""",
        "one too few": _energy("max(1, int((kept < share).sum()))"),
        "one too many": _energy("int((kept < share).sum()) + 2"),
        "a share of the ranks": _energy("max(1, round(share * len(values)))"),
        "above a share of the largest": _energy("max(1, int((values >= (1 - share) * values[0]).sum()))"),
        "zeros need nothing": _energy("int((kept < share).sum()) + 1", zeros="0"),
        "the error instead": _energy("int((kept < 1 - share).sum()) + 1"),
        "zeros divide": """
def rank_for_energy(weight, share):
    squares = torch.linalg.svdvals(weight.detach().flatten(1)).square()
    return int((squares.cumsum(0) / squares.sum() >= share).nonzero()[0]) + 1
""",
        "hard-coded": _energy("3"),
        "more than the share": _energy("int((kept <= share).sum()) + 1"),
    },
    advice={
        "not squared": "sum of the squares",
        "one too few": "one rank too few",
        "one too many": "one rank too many",
        "a share of the ranks": "not a share of the ranks",
        "above a share of the largest": "do not compare single values",
        "zeros need nothing": "0 / 0 is not a number",
        "the error instead": "not what is lost",
        "zeros divide": "IndexError",
        "hard-coded": "depends on weight and share",
        "more than the share": "xactly the share is enough",
    },
    right={
        "searchsorted": _energy("int(torch.searchsorted(kept, torch.tensor(share, dtype=kept.dtype))) + 1"),
        "a loop": """
def rank_for_energy(weight, share):
    squares = (torch.linalg.svdvals(weight.detach().flatten(1)) ** 2).tolist()
    total, kept = sum(squares), 0.0
    for rank, square in enumerate(squares, start=1):
        kept += square
        if kept >= share * total:
            return rank
    return len(squares)
""",
    },
)


def _cost(
    shapes: str = "[(rank_in, in_channels, 1, 1), (rank_out, rank_in, kernel, kernel), (out_channels, rank_out, 1, 1)]",
    after: str = "math.ceil(height / stride) * math.ceil(width / stride)",
    macs: str = "sizes[0] * height * width + (sizes[1] + sizes[2]) * after",
    returned: str = '{"shapes": shapes, "parameters": sum(sizes), "macs": macs}',
) -> str:
    return f"""
import math
def tucker_cost(out_channels, in_channels, kernel, rank_in, rank_out, height, width, stride=1):
    shapes = {shapes}
    sizes = [math.prod(shape) for shape in shapes]
    after = {after}
    macs = {macs}
    return {returned}
"""


COST = Answers(
    name="tucker_cost",
    wrong={
        "ranks swapped": _cost(
            "[(rank_out, in_channels, 1, 1), (rank_in, rank_out, kernel, kernel), (out_channels, rank_in, 1, 1)]"
        ),
        "in and out swapped": _cost(
            "[(in_channels, rank_in, 1, 1), (rank_in, rank_out, kernel, kernel), (rank_out, out_channels, 1, 1)]"
        ),
        "all before the stride": _cost(macs="sum(sizes) * height * width"),
        "all after the stride": _cost(macs="sum(sizes) * after"),
        "rounded down": _cost(after="(height // stride) * (width // stride)"),
        "stride in one direction": _cost(after="math.ceil(height / stride) * width"),
        "two operations for each": _cost(macs="2 * (sizes[0] * height * width + (sizes[1] + sizes[2]) * after)"),
        "without the kernel": _cost(
            "[(rank_in, in_channels, 1, 1), (rank_out, rank_in, 1, 1), (out_channels, rank_out, 1, 1)]"
        ),
        "a list": _cost(returned="[shapes, sum(sizes), macs]"),
    },
    advice={
        "ranks swapped": "rank_in comes first",
        "in and out swapped": "out comes first",
        "all before the stride": "belongs to the middle convolution",
        "all after the stride": "runs before the stride",
        "rounded down": "rounded up",
        "stride in one direction": "divides height and width",
        "two operations for each": "not as two operations",
        "without the kernel": "has the kernel: k × k",
        "a list": "return a dictionary",
    },
    right={
        "with layers": """
def tucker_cost(out_channels, in_channels, kernel, rank_in, rank_out, height, width, stride=1):
    layers = [
        nn.Conv2d(in_channels, rank_in, 1, bias=False),
        nn.Conv2d(rank_in, rank_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.Conv2d(rank_out, out_channels, 1, bias=False),
    ]
    image, macs = torch.zeros(1, in_channels, height, width), 0
    for layer in layers:
        image = layer(image)
        macs += layer.weight.numel() * image.shape[2] * image.shape[3]
    shapes = [tuple(layer.weight.shape) for layer in layers]
    return {"shapes": shapes, "parameters": sum(layer.weight.numel() for layer in layers), "macs": macs}
""",
        "in steps": """
def tucker_cost(out_channels, in_channels, kernel, rank_in, rank_out, height, width, stride=1):
    first, core, last = rank_in * in_channels, rank_in * rank_out * kernel * kernel, rank_out * out_channels
    rows, columns = (height + stride - 1) // stride, (width + stride - 1) // stride
    return {
        "shapes": [(rank_in, in_channels, 1, 1), (rank_out, rank_in, kernel, kernel), (out_channels, rank_out, 1, 1)],
        "parameters": first + core + last,
        "macs": first * height * width + core * rows * columns + last * rows * columns,
    }
""",
    },
)


def _aware(body: str) -> str:
    return f"""
def data_aware_weight(weight, inputs, rank):
    W, X = weight.double(), inputs.double()
    C = X.T @ X / len(X)
    {body}
"""


AWARE = Answers(
    name="data_aware_weight",
    wrong={
        "plain SVD": _aware(
            "U, S, V = torch.linalg.svd(W, full_matrices=False); return (U[:, :rank] * S[:rank] @ V[:rank]).float()"
        ),
        "whitening is not undone": _aware(
            "U, S, V = torch.linalg.svd(W @ torch.linalg.cholesky(C), full_matrices=False);"
            " return (U[:, :rank] * S[:rank] @ V[:rank]).float()"
        ),
        "the covariance instead of its root": _aware(
            "U, S, V = torch.linalg.svd(W @ C, full_matrices=False);"
            " return (U[:, :rank] * S[:rank] @ V[:rank] @ torch.linalg.inv(C)).float()"
        ),
        "transposed root": _aware(
            "R = torch.linalg.cholesky(C).T; U, S, V = torch.linalg.svd(W @ R, full_matrices=False);"
            " return (U[:, :rank] * S[:rank] @ V[:rank] @ torch.linalg.inv(R)).float()"
        ),
        "only the diagonal": _aware(
            "R = C.diagonal().sqrt(); U, S, V = torch.linalg.svd(W * R, full_matrices=False);"
            " return (U[:, :rank] * S[:rank] @ V[:rank] / R).float()"
        ),
        "leading directions of the input": _aware(
            "P = torch.linalg.eigh(C).eigenvectors[:, -rank:]; return (W @ P @ P.T).float()"
        ),
        "smallest directions": _aware(
            "U = torch.linalg.eigh(W @ C @ W.T).eigenvectors[:, :rank]; return (U @ U.T @ W).float()"
        ),
        "nothing is cut": _aware("return W.float()"),
        "a pair": _aware(
            "U = torch.linalg.eigh(W @ C @ W.T).eigenvectors[:, -rank:]; return U.float(), (U.T @ W).float()"
        ),
        "a centred covariance": _aware(
            "R = torch.linalg.cholesky(torch.cov(X.T)); U, S, V = torch.linalg.svd(W @ R, full_matrices=False);"
            " return (U[:, :rank] * S[:rank] @ V[:rank] @ torch.linalg.inv(R)).float()"
        ),
    },
    advice={
        "plain SVD": "plain SVD of the weight",
        "whitening is not undone": "is not undone",
        "the covariance instead of its root": "S is a root of C",
        "transposed root": "S is transposed",
        "only the diagonal": "diagonal of C alone",
        "leading directions of the input": "directions of the outputs count",
        "smallest directions": "not the first",
        "nothing is cut": "higher rank",
        "a pair": "product has the weight's shape",
        "a centred covariance": "Do not subtract the mean",
    },
    right={
        "the outputs' directions": _aware(
            "U = torch.linalg.svd((X @ W.T).T, full_matrices=False).U[:, :rank]; return (U @ U.T @ W).float()"
        ),
        "eigenvectors": _aware(
            "U = torch.linalg.eigh(W @ C @ W.T).eigenvectors[:, -rank:]; return (U @ U.T @ W).to(weight.dtype)"
        ),
        "the symmetric root": _aware(
            "e, Q = torch.linalg.eigh(C); R = Q * e.clamp_min(1e-12).sqrt() @ Q.T;"
            " U, S, V = torch.linalg.svd(W @ R, full_matrices=False);"
            " return (U[:, :rank] * S[:rank] @ V[:rank] @ torch.linalg.inv(R)).float()"
        ),
    },
)


def _lora(expression: str, before: str = "") -> str:
    return f"""
def lora_weight(weight, A, B, alpha):
    {before}
    return {expression}
"""


LORA = Answers(
    name="lora_weight",
    wrong={
        "not divided by the rank": _lora("weight + alpha * B @ A"),
        "no alpha": _lora("weight + B @ A"),
        "divided by the other side": _lora("weight + alpha / A.shape[1] * B @ A"),
        "subtracted": _lora("weight - alpha / len(A) * B @ A"),
        "only the update": _lora("alpha / len(A) * B @ A"),
        "the weight is scaled too": _lora("alpha / len(A) * (weight + B @ A)"),
        "transposed": _lora(
            "weight + alpha / len(A) * (A.T @ B.T if weight.shape[0] == weight.shape[1] else B @ A * 2)"
        ),
        "in place": _lora("weight", "weight += alpha / len(A) * B @ A"),
        "alpha times rank": _lora("weight + alpha * len(A) * B @ A"),
    },
    advice={
        "not divided by the rank": "divided by the rank",
        "no alpha": "`alpha` is missing",
        "divided by the other side": "not of its columns",
        "subtracted": "not subtracted",
        "only the update": "The weight itself is missing",
        "the weight is scaled too": "not the weight",
        "transposed": "counts once",
        "in place": "changed its input",
        "alpha times rank": "do not multiply",
    },
    right={
        "addmm": _lora("torch.addmm(weight, B, A, alpha=alpha / A.shape[0])"),
        "a sum of outer products": """
def lora_weight(weight, A, B, alpha):
    merged = weight.clone()
    for row, column in zip(A, B.T):
        merged = merged + alpha / len(A) * torch.outer(column, row)
    return merged
""",
    },
)

ANSWERS = {"11.1": BREAK_EVEN, "11.2": PAIR, "11.3": ENERGY, "11.4": COST, "11.5": AWARE, "11.6": LORA}
