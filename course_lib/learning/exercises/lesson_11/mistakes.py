"""Known mistakes of exercise 11: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_RANK = "math.ceil(rows * columns / (rows + columns)) - 1"
_FIRST = "first.weight.data = root[:, None] * right[:rank]"
_SECOND = "second.weight.data = left[:, :rank] * root"
_KEPT = "int((kept < share).sum()) + 1"
_MACS = "first * height * width + (core + last) * after"
_AFTER = "math.ceil(height / stride) * math.ceil(width / stride)"
_ROOT = "torch.linalg.cholesky(double.T @ double / len(inputs))"
_CUT = "(cut @ torch.linalg.inv(root)).float()"
_LORA = "weight + alpha / A.shape[0] * B @ A"

MISTAKES = {
    "11.1": Mistakes(
        "break_even_rank",
        {
            "half of the shorter side is break-even only for a square matrix": [(_RANK, "min(rows, columns) // 2")],
            "the shorter side is the full rank: its factors hold more numbers": [(_RANK, "min(rows, columns)")],
            "where no rank helps, the answer is 0": [(_RANK, f"max(1, {_RANK})")],
            "one more still holds fewer numbers than the matrix": [
                (_RANK, "max(0, rows * columns // (rows + columns) - 1)")
            ],
            "a rank is a whole number": [(_RANK, "rows * columns / (rows + columns)")],
            "round down: a rank above the quotient holds more numbers than the matrix": [
                (_RANK, "math.ceil(rows * columns / (rows + columns))")
            ],
            "do not round to the nearest: a rank above the quotient holds more numbers": [
                (_RANK, "round(rows * columns / (rows + columns))")
            ],
            "the answer depends on rows and columns": [(_RANK, "460")],
        },
    ),
    "11.2": Mistakes(
        "svd_layer",
        {
            "each singular value counts once: in one of the layers, or its root in both": [
                ("values[:rank].sqrt()", "values[:rank]")
            ],
            "the singular values are missing": [("values[:rank].sqrt()", "torch.ones(rank)")],
            "keep the largest singular values, not the smallest": [
                (_FIRST, "first.weight.data = right[-rank:].clone()"),
                (_SECOND, "second.weight.data = left[:, -rank:] * values[-rank:]"),
            ],
            "the bias belongs to the second layer only": [("rank, bias=False)", "rank)")],
            "the original bias is missing in the second layer": [
                ("bias=layer.bias is not None)", "bias=False)"),
                ("    if layer.bias is not None:\n        second.bias.data = layer.bias.detach().clone()\n", ""),
            ],
            "the second layer gets the values of the original bias": [
                ("        second.bias.data = layer.bias.detach().clone()", "        pass")
            ],
        },
    ),
    "11.3": Mistakes(
        "rank_for_energy",
        {
            "that is one rank too few: it keeps less than the share": [(_KEPT, "max(1, int((kept < share).sum()))")],
            "that is one rank too many: a smaller one keeps the share": [(_KEPT, "int((kept < share).sum()) + 2")],
            "exactly the share is enough: at least, not more than": [(_KEPT, "int((kept <= share).sum()) + 1")],
            "a share of the energy is asked, not a share of the ranks": [
                (_KEPT, "max(1, round(share * len(squares)))")
            ],
            "the energy is a sum of the squares: add them up, do not compare single values with the largest": [
                (_KEPT, "max(1, int((squares.sqrt() >= (1 - share) * squares[0].sqrt()).sum()))")
            ],
            "`share` is what stays, not what is lost": [(_KEPT, "int((kept < 1 - share).sum()) + 1")],
            "the rank depends on weight and share": [(_KEPT, "3")],
        },
    ),
    "11.4": Mistakes(
        "tucker_cost",
        {
            "rank_in comes first: it is the number of channels after the first convolution": [
                ("(rank_in, in_channels, 1, 1)", "(rank_out, in_channels, 1, 1)"),
                ("(rank_out, rank_in, kernel, kernel)", "(rank_in, rank_out, kernel, kernel)"),
                ("(out_channels, rank_out, 1, 1)", "(out_channels, rank_in, 1, 1)"),
            ],
            "a weight has the shape (out, in, k, k): out comes first": [
                ("(rank_in, in_channels, 1, 1)", "(in_channels, rank_in, 1, 1)"),
                ("(rank_out, rank_in, kernel, kernel)", "(rank_in, rank_out, kernel, kernel)"),
                ("(out_channels, rank_out, 1, 1)", "(rank_out, out_channels, 1, 1)"),
            ],
            "the stride belongs to the middle convolution: it and the last one have fewer positions": [
                (_MACS, "(first + core + last) * height * width")
            ],
            "the first convolution runs before the stride, at every position": [
                (_MACS, "(first + core + last) * after")
            ],
            "sizes after the stride are rounded up": [(_AFTER, "(height // stride) * (width // stride)")],
            "the stride divides height and width": [(_AFTER, "math.ceil(height / stride) * width")],
            "a multiply-accumulate counts once, not as two operations": [(_MACS, f"2 * ({_MACS})")],
            "the middle convolution has the kernel: k × k": [
                ("(rank_out, rank_in, kernel, kernel)", "(rank_out, rank_in, 1, 1)")
            ],
        },
    ),
    "11.5": Mistakes(
        "data_aware_weight",
        {
            "the whitening is not undone: multiply by the inverse of S at the end": [(_CUT, "cut.float()")],
            "S is a root of C: with C itself the error of the outputs is not the smallest": [
                (_ROOT, "double.T @ double / len(inputs)")
            ],
            "S is transposed: C = S·Sᵀ, and it is W·S that is truncated": [(_ROOT, _ROOT + ".T")],
            "the inputs are correlated: the diagonal of C alone is not enough": [
                (_ROOT, "(double.T @ double / len(inputs)).diagonal().sqrt().diag()")
            ],
            "the directions of the outputs count, not those of the inputs alone": """
def data_aware_weight(weight, inputs, rank):
    double = inputs.double()
    largest = torch.linalg.eigh(double.T @ double).eigenvectors[:, -rank:]
    return (weight.double() @ largest @ largest.T).float()
""",
            "eigh sorts from small to large: take the last directions, not the first": """
def data_aware_weight(weight, inputs, rank):
    outputs = inputs.double() @ weight.double().T
    smallest = torch.linalg.eigh(outputs.T @ outputs).eigenvectors[:, :rank]
    return (smallest @ smallest.T @ weight.double()).float()
""",
            "do not subtract the mean of the inputs: it contributes to the outputs": [
                ("inputs.double()\n", "(inputs - inputs.mean(dim=0)).double()\n")
            ],
        },
    ),
    "11.6": Mistakes(
        "lora_weight",
        {
            "`alpha` is missing: the update is multiplied by alpha / r": [(_LORA, "weight + B @ A")],
            "r is the number of rows of A, not of its columns": [("A.shape[0]", "A.shape[1]")],
            "the update is added, not subtracted": [("weight + alpha", "weight - alpha")],
            "the weight itself is missing: add the update to it": [(_LORA, "alpha / A.shape[0] * B @ A")],
            "only the update is multiplied by alpha / r, not the weight": [
                (_LORA, "alpha / A.shape[0] * (weight + B @ A)")
            ],
            "divide by the rank, do not multiply": [("alpha / A.shape[0]", "alpha * A.shape[0]")],
            "the update is B·A, and counts once": [("B @ A", "B @ A * 2")],
        },
    ),
}
