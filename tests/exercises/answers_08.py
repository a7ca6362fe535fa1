"""Answers to exercise 08 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers, changed

_STEP = """
def gptq_step(weight, factor, column, scale, zero_point, bits):
    changed = weight.clone()
    codes = ((weight[:, column] / scale).round() + zero_point).clamp(0, 2**bits - 1)
    rounded = (codes - zero_point) * scale
    error = (weight[:, column] - rounded) / factor[column, column]
    changed[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]
    changed[:, column] = rounded
    return changed
"""


STEP = Answers(
    name="gptq_step",
    wrong={
        "nothing is handed on": changed(
            _STEP, ("    changed[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]\n", "")
        ),
        "not divided by the diagonal": changed(_STEP, (" / factor[column, column]", "")),
        "the wrong sign": changed(_STEP, ("-= error", "+= error")),
        "a column of the factor": changed(_STEP, ("factor[column, column + 1 :]\n", "factor[column + 1 :, column]\n")),
        "not clamped": changed(_STEP, (".clamp(0, 2**bits - 1)", "")),
        "one code too many": changed(_STEP, ("2**bits - 1", "2**bits")),
        "clamped before the zero-point": changed(
            _STEP,
            (
                "((weight[:, column] / scale).round() + zero_point).clamp(0, 2**bits - 1)",
                "(weight[:, column] / scale).round().clamp(0, 2**bits - 1) + zero_point",
            ),
        ),
        "rounds down": changed(_STEP, (".round()", ".floor()")),
        "the zero-point is forgotten on the way back": changed(
            _STEP, ("(codes - zero_point) * scale", "codes * scale")
        ),
        "the column keeps its old value": changed(_STEP, ("    changed[:, column] = rounded\n", "")),
        "codes instead of values": changed(_STEP, ("changed[:, column] = rounded", "changed[:, column] = codes")),
        "one column too far": changed(
            _STEP,
            (
                "changed[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]",
                "changed[:, column + 2 :] -= error[:, None] * factor[column, column + 2 :]",
            ),
        ),
        "the square of the diagonal": changed(_STEP, ("/ factor[column, column]", "/ factor[column, column] ** 2")),
        "earlier columns move, too": changed(
            _STEP, ("    return changed", "    changed[:, :column] *= 0.999\n    return changed")
        ),
        "its input is changed": changed(_STEP, ("weight.clone()", "weight")),
        "only the column comes back": changed(_STEP, ("return changed", "return rounded")),
    },
    advice={
        "nothing is handed on": "later columns have not changed",
        "not divided by the diagonal": "entry on the diagonal",
        "the wrong sign": "The sign is wrong",
        "a column of the factor": "not column j",
        "not clamped": "Clamp the codes",
        "one code too many": "The largest code is 2**bits - 1",
        "clamped before the zero-point": "before the clamp, not after",
        "rounds down": "not always down",
        "the zero-point is forgotten on the way back": "on the way back",
        "the column keeps its old value": "gets its rounded values",
        "codes instead of values": "values, not codes",
        "one column too far": "begin at column + 1",
        "the square of the diagonal": "not by its square",
        "earlier columns move, too": "columns before are finished",
        "its input is changed": "changed its input",
        "only the column comes back": "should have shape",
    },
    right={
        "row by row": """
def gptq_step(weight, factor, column, scale, zero_point, bits):
    rows = []
    for row, step, zero in zip(weight, scale.tolist(), zero_point.tolist()):
        code = min(max(round(float(row[column]) / step) + zero, 0), 2**bits - 1)
        value = (code - zero) * step
        error = (float(row[column]) - value) / float(factor[column, column])
        new = row.clone()
        new[column + 1 :] = row[column + 1 :] - error * factor[column, column + 1 :]
        new[column] = value
        rows.append(new)
    return torch.stack(rows)
""",
        "the whole row of the factor": """
def gptq_step(weight, factor, column, scale, zero_point, bits):
    codes = torch.clamp(torch.round(weight[:, column] / scale) + zero_point, min=0, max=2**bits - 1)
    rounded = scale * (codes - zero_point)
    gap = (weight[:, column] - rounded) / factor[column, column]
    share = factor[column].clone()
    share[: column + 1] = 0
    moved = weight - torch.outer(gap, share)
    return torch.cat([moved[:, :column], rounded[:, None], moved[:, column + 1 :]], dim=1)
""",
    },
)

_FACTOR = """
def inverse_factor(rows, damping):
    rows = rows.double()
    hessian = rows.T @ rows
    mean = hessian.diagonal().mean()
    hessian = hessian + damping * mean * torch.eye(len(hessian), dtype=torch.float64)
    try:
        torch.linalg.cholesky(hessian)
        return torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    except RuntimeError as error:
        raise ValueError("singular: more samples, or more damping") from error
"""


FACTOR = Answers(
    name="inverse_factor",
    wrong={
        "the lower factor": changed(_FACTOR, (", upper=True", "")),
        "not inverted": changed(_FACTOR, ("torch.linalg.inv(hessian)", "hessian")),
        "the transpose of a lower factor of the Hessian": changed(
            _FACTOR,
            ("torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)", "torch.linalg.cholesky(hessian).T"),
        ),
        "the inverse of the factor": changed(
            _FACTOR,
            (
                "torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)",
                "torch.linalg.inv(torch.linalg.cholesky(hessian)).T",
            ),
        ),
        "damping as it is": changed(_FACTOR, ("damping * mean", "damping")),
        "the largest entry instead of the mean": changed(_FACTOR, (".diagonal().mean()", ".diagonal().max()")),
        "the mean of the whole matrix": changed(_FACTOR, ("hessian.diagonal().mean()", "hessian.mean()")),
        "everything is damped": changed(
            _FACTOR, ("torch.eye(len(hessian), dtype=torch.float64)", "torch.ones_like(hessian)")
        ),
        "no damping": changed(_FACTOR, ("damping * mean * ", "0 * ")),
        "divided by the number of samples": changed(_FACTOR, ("rows.T @ rows", "rows.T @ rows / len(rows)")),
        "samples and inputs swapped": changed(_FACTOR, ("rows.T @ rows", "rows @ rows.T")),
        "the inverse itself": changed(
            _FACTOR, ("torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)", "torch.linalg.inv(hessian)")
        ),
        "torch's own error": """
def inverse_factor(rows, damping):
    rows = rows.double()
    hessian = rows.T @ rows
    hessian = hessian + damping * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)
    torch.linalg.cholesky(hessian)
    return torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
""",
        "damps on its own where it must refuse": changed(
            _FACTOR,
            (
                '        raise ValueError("singular: more samples, or more damping") from error',
                "        return inverse_factor(rows, 0.01)",
            ),
        ),
        "in single precision": changed(_FACTOR, ("rows.double()", "rows.float()"), ("torch.float64", "torch.float32")),
    },
    advice={
        "the lower factor": "lower triangle unless",
        "not inverted": "not of H itself",
        "the transpose of a lower factor of the Hessian": "not of H itself",
        "the inverse of the factor": "factor the inverse of H",
        "damping as it is": "multiplied with the mean of the diagonal",
        "the largest entry instead of the mean": "not its largest entry",
        "the mean of the whole matrix": "not of the whole matrix",
        "everything is damped": "Only the diagonal is damped",
        "no damping": "The damping is missing",
        "divided by the number of samples": "do not divide by their number",
        "samples and inputs swapped": "rows.T @ rows",
        "the inverse itself": "upper Cholesky factor is asked",
        "torch's own error": "raise a ValueError",
        "damps on its own where it must refuse": "raise a ValueError",
        "in single precision": "ompute in float64",
    },
    right={
        "from the lower factor, by substitution": """
def inverse_factor(rows, damping):
    x = rows.to(torch.float64)
    h = torch.einsum("ni,nj->ij", x, x)
    h.diagonal().add_(damping * h.diagonal().mean())
    lower, failed = torch.linalg.cholesky_ex(h)
    if failed:
        raise ValueError("not positive definite; samples or damping")
    return torch.linalg.cholesky(torch.cholesky_inverse(lower)).T
""",
        "with NumPy": """
import numpy
def inverse_factor(rows, damping):
    x = rows.numpy().astype(float)
    h = x.T @ x
    h = h + damping * numpy.trace(h) / len(h) * numpy.identity(len(h))
    try:
        numpy.linalg.cholesky(h)
        return torch.from_numpy(numpy.linalg.cholesky(numpy.linalg.inv(h)).T.copy())
    except numpy.linalg.LinAlgError as error:
        raise ValueError("more samples or more damping") from error
""",
    },
)

_SEARCH = """
def search_alpha(weight, rows, bits, alphas):
    size = rows.abs().mean(dim=0)
    errors = []
    for alpha in alphas:
        scales = size**alpha
        rounded = round_to_nearest(weight * scales, bits) / scales
        errors.append(float((rows @ (rounded - weight).T).square().sum(dim=1).mean()))
    return alphas[errors.index(min(errors))], errors
"""


SEARCH = Answers(
    name="search_alpha",
    wrong={
        "the largest input": changed(_SEARCH, ("rows.abs().mean(dim=0)", "rows.abs().amax(dim=0)")),
        "no absolute value": changed(_SEARCH, ("rows.abs().mean(dim=0)", "rows.mean(dim=0).clamp(min=1e-3)")),
        "sizes of the weights": changed(_SEARCH, ("rows.abs().mean(dim=0)", "weight.abs().mean(dim=0)")),
        "never scaled down again": changed(_SEARCH, ("bits) / scales", "bits)")),
        "scaled the wrong way round": changed(
            _SEARCH,
            ("round_to_nearest(weight * scales, bits) / scales", "round_to_nearest(weight / scales, bits) * scales"),
        ),
        "not scaled at all": changed(_SEARCH, ("size**alpha", "torch.ones_like(size)")),
        "error of the weights": changed(_SEARCH, ("(rows @ (rounded - weight).T)", "(rounded - weight)")),
        "mean over the outputs as well": changed(_SEARCH, (".square().sum(dim=1).mean()", ".square().mean()")),
        "sum over the rows": changed(_SEARCH, (".square().sum(dim=1).mean()", ".square().sum()")),
        "absolute instead of squared": changed(_SEARCH, (".square()", ".abs()")),
        "the worst alpha": changed(_SEARCH, ("min(errors)", "max(errors)")),
        "the place of the alpha": changed(_SEARCH, ("alphas[errors.index(min(errors))]", "errors.index(min(errors))")),
        "the last of equal ones": changed(
            _SEARCH,
            ("alphas[errors.index(min(errors))]", "alphas[max(i for i, e in enumerate(errors) if e == min(errors))]"),
        ),
        "only the smallest error": changed(_SEARCH, (", errors\n", ", min(errors)\n")),
        "one bit too many": changed(_SEARCH, ("bits) / scales", "bits + 1) / scales")),
    },
    advice={
        "the largest input": "not the largest",
        "no absolute value": "take abs() first",
        "sizes of the weights": "not from the weights",
        "never scaled down again": "again after rounding",
        "scaled the wrong way round": "not the other way round",
        "not scaled at all": "no effect yet",
        "error of the weights": "not that of the weights",
        "mean over the outputs as well": "you take a mean over both",
        "sum over the rows": "not their sum",
        "absolute instead of squared": "The change is squared",
        "the worst alpha": "not the largest",
        "the place of the alpha": "not its place",
        "the last of equal ones": "Of equal errors the first",
        "only the smallest error": "one for each exponent",
        "one bit too many": "`bits` bits",
    },
    right={
        "with the Hessian": """
def search_alpha(weight, rows, bits, alphas):
    hessian = rows.double().T @ rows.double() / len(rows)
    size = rows.abs().sum(dim=0) / len(rows)
    def error(alpha):
        scales = torch.pow(size, alpha)
        change = (round_to_nearest(weight * scales[None, :], bits) / scales[None, :] - weight).double()
        return torch.einsum("oi,ij,oj->", change, hessian, change).item()
    errors = [error(alpha) for alpha in alphas]
    best = min(range(len(alphas)), key=lambda place: errors[place])
    return alphas[best], errors
""",
        "outputs before and after": """
def search_alpha(weight, rows, bits, alphas):
    before = rows @ weight.T
    best, errors = None, []
    for alpha in alphas:
        scales = rows.abs().mean(0) ** alpha
        after = (rows / scales) @ round_to_nearest(weight * scales, bits).T
        errors.append(((after - before) ** 2).sum().item() / len(rows))
        if best is None or errors[-1] < min(errors[:-1]):
            best = alpha
    return best, errors
""",
    },
)

_BYTES = """
def file_bytes(shape, bits, group_size, symmetric):
    rows, columns = shape
    size = group_size or columns
    if columns % size:
        raise ValueError(f"{size} does not divide {columns}")
    groups = rows * columns // size
    codes = math.ceil(rows * columns * bits / 8)
    scales = 2 * groups
    zero_points = 0 if symmetric else math.ceil(groups * bits / 8)
    total = codes + scales + zero_points
    return {"codes": codes, "scales": scales, "zero_points": zero_points,
            "bits_per_weight": 8 * total / (rows * columns)}
"""


BYTES = Answers(
    name="file_bytes",
    wrong={
        "rounds down": changed(_BYTES, ("math.ceil(rows * columns * bits / 8)", "rows * columns * bits // 8")),
        "whole bytes for every row": changed(
            _BYTES, ("math.ceil(rows * columns * bits / 8)", "rows * math.ceil(columns * bits / 8)")
        ),
        "four bytes per scale": changed(_BYTES, ("2 * groups", "4 * groups")),
        "one scale per row": changed(_BYTES, ("2 * groups", "2 * rows")),
        "one byte per zero-point": changed(_BYTES, ("math.ceil(groups * bits / 8)", "groups")),
        "zero-points of eight bits packed in pairs": changed(
            _BYTES, ("math.ceil(groups * bits / 8)", "groups * bits // 8")
        ),
        "zero-points are always there": changed(_BYTES, ("0 if symmetric else ", "")),
        "zero-points where they are not": changed(_BYTES, ("0 if symmetric else", "0 if not symmetric else")),
        "scales do not count": changed(_BYTES, ("codes + scales + zero_points", "codes")),
        "bytes per weight": changed(_BYTES, ("8 * total", "total")),
        "never refuses": changed(
            _BYTES, ('        raise ValueError(f"{size} does not divide {columns}")', "        pass")
        ),
        "a row is no group": changed(_BYTES, ("group_size or columns", "group_size or 1")),
        "bits per weight before the bytes are rounded up": changed(
            _BYTES,
            ("8 * total / (rows * columns)", "bits + groups * (16 + (0 if symmetric else bits)) / (rows * columns)"),
        ),
    },
    advice={
        "rounds down": "round the codes up, not down",
        "whole bytes for every row": "not in each row",
        "four bytes per scale": "two bytes (fp16)",
        "one scale per row": "not each row",
        "one byte per zero-point": "not a byte",
        "zero-points of eight bits packed in pairs": "round the zero-points up",
        "zero-points are always there": "has no zero-points",
        "zero-points where they are not": "symmetric ones do not",
        "scales do not count": "count in the bits per weight",
        "bytes per weight": "A byte is 8 bits",
        "never refuses": "raise a ValueError",
        "a row is no group": "a row is one group",
        "bits per weight before the bytes are rounded up": "after rounding up",
    },
    right={
        "a row of groups": """
def file_bytes(shape, bits, group_size, symmetric):
    outputs, inputs = shape
    per_row, rest = divmod(inputs, inputs if group_size is None else group_size)
    if rest:
        raise ValueError("the group size does not divide the inputs")
    parts = {
        "codes": (outputs * inputs * bits + 7) // 8,
        "scales": outputs * per_row * 2,
        "zero_points": 0 if symmetric else (outputs * per_row * bits + 7) // 8,
    }
    return {**parts, "bits_per_weight": sum(parts.values()) * 8 / outputs / inputs}
""",
        "counted with NumPy": """
import numpy
def file_bytes(shape, bits, group_size, symmetric):
    size = shape[1] if group_size is None else group_size
    if shape[1] % size != 0:
        raise ValueError(group_size)
    groups = int(numpy.prod(shape)) // size
    codes = numpy.packbits(numpy.zeros(int(numpy.prod(shape)) * bits, dtype=bool)).nbytes
    zeros = 0 if symmetric else numpy.packbits(numpy.zeros(groups * bits, dtype=bool)).nbytes
    scales = numpy.zeros(groups, dtype=numpy.float16).nbytes
    per_weight = 8 * (codes + zeros + scales) / int(numpy.prod(shape))
    return {"codes": codes, "scales": scales, "zero_points": zeros, "bits_per_weight": per_weight}
""",
    },
)

_SMOOTH = """
def smooth(weight, rows, gain, shift, alpha):
    factors = rows.abs().amax(dim=0) ** alpha / weight.abs().amax(dim=0) ** (1 - alpha)
    return weight * factors, gain / factors, shift / factors
"""


SMOOTH = Answers(
    name="smooth",
    wrong={
        "the shift is forgotten": changed(_SMOOTH, ("shift / factors", "shift")),
        "the wrong way round": changed(
            _SMOOTH,
            ("weight * factors, gain / factors, shift / factors", "weight / factors, gain * factors, shift * factors"),
        ),
        "alpha for the weights": changed(_SMOOTH, ("** alpha / weight", "** (1 - alpha) / weight")).replace(
            "amax(dim=0) ** (1 - alpha)\n", "amax(dim=0) ** alpha\n"
        ),
        "the mean instead of the largest": changed(_SMOOTH, ("rows.abs().amax(dim=0)", "rows.abs().mean(dim=0)")),
        "no absolute value": changed(_SMOOTH, ("rows.abs().amax(dim=0)", "rows.amax(dim=0).clamp(min=1e-2)")),
        "multiplied instead of divided": changed(_SMOOTH, ("** alpha / weight", "** alpha * weight")),
        "one factor for the layer": changed(_SMOOTH, ("weight.abs().amax(dim=0)", "weight.abs().max()")),
        "nothing moves": "def smooth(weight, rows, gain, shift, alpha):\n    return weight, gain, shift\n",
        "always one half": changed(_SMOOTH, ("** alpha", "** 0.5")).replace("** (1 - alpha)", "** 0.5"),
        "its inputs are changed": changed(_SMOOTH, ("return weight * factors", "weight *= factors\n    return weight")),
        "the weight alone": changed(
            _SMOOTH, ("return weight * factors, gain / factors, shift / factors", "return weight * factors")
        ),
    },
    advice={
        "the shift is forgotten": "divide it as well",
        "the wrong way round": "gain and shift divided",
        "alpha for the weights": "1 - alpha that of the weights",
        "the mean instead of the largest": "not the mean",
        "no absolute value": "before the maximum",
        "multiplied instead of divided": "Divide by the power of max|w|",
        "one factor for the layer": "factor of its own",
        "nothing moves": "Nothing has changed",
        "always one half": "The exponent depends on",
        "its inputs are changed": "changed its input",
        "the weight alone": "return three values",
    },
    right={
        "with a diagonal matrix": """
def smooth(weight, rows, gain, shift, alpha):
    largest_input, largest_weight = rows.abs().max(dim=0).values, weight.abs().max(dim=0).values
    factors = torch.exp(alpha * largest_input.log() + (alpha - 1) * largest_weight.log())
    return weight @ torch.diag(factors), gain * (1 / factors), shift * (1 / factors)
""",
        "channel by channel": """
def smooth(weight, rows, gain, shift, alpha):
    new_weight, new_gain, new_shift = weight.clone(), gain.clone(), shift.clone()
    for channel in range(weight.shape[1]):
        factor = rows[:, channel].abs().max() ** alpha / weight[:, channel].abs().max() ** (1 - alpha)
        new_weight[:, channel] *= factor
        new_gain[channel] /= factor
        new_shift[channel] /= factor
    return [new_weight, new_gain, new_shift]
""",
    },
)

PLAN = Answers(
    name="plan",
    wrong={
        "too many bits": "def plan():\n    return 'gptq', 4, 128\n",
        "groups that are too small": "def plan():\n    return 'gptq', 3, 32\n",
        "to nearest": "def plan():\n    return 'rtn', 3, 128\n",
        "two bits in small groups": "def plan():\n    return 'gptq', 2, 16\n",
        "two bits in rows": "def plan():\n    return 'gptq', 2, None\n",
        "a method that is none": "def plan():\n    return 'GPTQ', 3, 128\n",
        "a group that is none": "def plan():\n    return 'gptq', 3, 100\n",
        "two things": "def plan():\n    return 'gptq', 3\n",
        "bits as text": "def plan():\n    return 'gptq', '3', 128\n",
    },
    advice={
        "too many bits": "the budget is",
        "groups that are too small": "A smaller group has more scales",
        "to nearest": "One method compensates",
        "two bits in small groups": "2 bits are too few",
        "two bits in rows": "2 bits are too few",
        "a method that is none": "the method is one of",
        "a group that is none": "the group size is one of",
        "two things": "return three values",
        "bits as text": "expected a whole number",
    },
    right={
        "larger groups": "def plan():\n    return 'gptq', 3, 256\n",
        "a list": "def plan():\n    return ['gptq', 3, 128]\n",
    },
)

ANSWERS = {"08.1": STEP, "08.2": FACTOR, "08.3": SEARCH, "08.4": BYTES, "08.5": SMOOTH, "08.6": PLAN}
