"""Known mistakes of exercise 08: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_ON = "    changed[:, column + 1 :] -= torch.outer(error, factor[column, column + 1 :])\n"
_CODES = "((weight[:, column] / scale).round() + zero_point).clamp(0, 2**bits - 1)"
_ERROR = "/ factor[column, column]"
_UPPER = "torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)"
_MEAN = "hessian.diagonal().mean()"
_EYE = "torch.eye(len(hessian), dtype=torch.float64)"
_SIZE = "rows.abs().mean(dim=0)"
_ROUNDED = "round_to_nearest(weight * scales, bits) / scales"
_SQUARES = ".square().sum(dim=1).mean()"
_BEST = "alphas[errors.index(min(errors))]"
_FACTORS = "rows.abs().amax(dim=0) ** alpha / weight.abs().amax(dim=0) ** (1 - alpha)"

MISTAKES = {
    "08.1": Mistakes(
        "gptq_step",
        {
            "the later columns have not changed: row j of the factor (not column j) says how they compensate": [
                (_ON, "")
            ],
            "divide the error by the factor's entry on the diagonal": [(f" {_ERROR}", "")],
            "the sign is wrong: later columns must compensate for the error, not double it": [("-= torch", "+= torch")],
            "clamp the codes to 0 … 2**bits - 1": [(".clamp(0, 2**bits - 1)", "")],
            "the largest code is 2**bits - 1": [("2**bits - 1", "2**bits")],
            "add the zero-point before the clamp, not after it": [
                (_CODES, "(weight[:, column] / scale).round().clamp(0, 2**bits - 1) + zero_point")
            ],
            "round to the nearest code, not always down": [(".round()", ".floor()")],
            "subtract the zero-point on the way back": [("(codes - zero_point) * scale", "codes * scale")],
            "the column itself gets its rounded values": [
                ("    return changed", "    changed[:, column] = weight[:, column]\n    return changed")
            ],
            "the column holds values, not codes: (code - zero_point) * scale": [
                ("    return changed", "    changed[:, column] = codes\n    return changed")
            ],
            "the next column changes too: later columns begin at column + 1": [(_ON, _ON.replace("+ 1", "+ 2"))],
            "divide by the entry on the diagonal once, not by its square": [(_ERROR, f"{_ERROR} ** 2")],
        },
    ),
    "08.2": Mistakes(
        "inverse_factor",
        {
            "the factor of the inverse is asked, not of H itself": [(_UPPER, "lower.T")],
            "the inverse of a factor of H is another matrix: factor the inverse of H": [
                (_UPPER, "torch.linalg.inv(lower).T")
            ],
            "the damping is multiplied with the mean of the diagonal": [(f"damping * {_MEAN}", "damping")],
            "the mean of the diagonal, not its largest entry": [(_MEAN, "hessian.diagonal().max()")],
            "the mean of the diagonal, not of the whole matrix": [(_MEAN, "hessian.mean()")],
            "only the diagonal is damped": [(_EYE, "torch.ones_like(hessian)")],
            "the damping is missing": [("damping * hessian", "0 * hessian")],
            "H is the sum over the samples here: do not divide by their number": [
                ("rows.T @ rows", "rows.T @ rows / len(rows)")
            ],
            "H has one row and column for each input: rows.T @ rows": [("rows.T @ rows", "rows @ rows.T")],
            "compute in float64: in single precision the inverse of this matrix is wrong": [
                ("rows.double()", "rows.float()"),
                ("torch.float64", "torch.float32"),
            ],
        },
    ),
    "08.3": Mistakes(
        "search_alpha",
        {
            "the size of an input is the mean of |x|, not the largest": [(_SIZE, "rows.abs().amax(dim=0)")],
            "the size of an input is the mean of |x|: take abs() first": [(_SIZE, "rows.mean(dim=0).clamp(min=1e-3)")],
            "the factors come from the inputs, not from the weights": [(_SIZE, "weight.abs().mean(dim=0)")],
            "divide the columns by the factors again after rounding": [(" / scales", "")],
            "multiply before rounding and divide afterwards, not the other way round": [
                (_ROUNDED, "round_to_nearest(weight / scales, bits) * scales")
            ],
            "the factors have no effect yet: scale the columns with mean|x| ** alpha": [
                ("size**alpha", "torch.ones_like(size)")
            ],
            "the error of the outputs is asked, not that of the weights": [
                ("(rows @ (rounded - weight).T)", "(rounded - weight)")
            ],
            "sum over the outputs, mean over the samples; you take a mean over both": [(_SQUARES, ".square().mean()")],
            "mean over the samples, not their sum": [(_SQUARES, ".square().sum()")],
            "the change is squared": [(".square()", ".abs()")],
            "the smallest error is best, not the largest": [("min(errors)", "max(errors)")],
            "return the exponent itself, not its place": [(_BEST, "errors.index(min(errors))")],
            "of equal errors the first in the list counts": [
                (_BEST, "alphas[max(i for i, e in enumerate(errors) if e == min(errors))]")
            ],
            "round to `bits` bits": [("bits) /", "bits + 1) /")],
        },
    ),
    "08.4": Mistakes(
        "file_bytes",
        {
            "bytes that are only partly used count: round the codes up, not down": [
                ("math.ceil(outputs * inputs * bits / 8)", "outputs * inputs * bits // 8")
            ],
            "all codes are packed together: round up once at the end, not in each row": [
                ("math.ceil(outputs * inputs * bits / 8)", "outputs * math.ceil(inputs * bits / 8)")
            ],
            "a scale takes two bytes (fp16)": [("2 * groups", "4 * groups")],
            "each group has a scale, not each row": [("2 * groups", "2 * outputs")],
            "a zero-point takes `bits` bits, not a byte": [("math.ceil(groups * bits / 8)", "groups")],
            "bytes that are only partly used count: round the zero-points up, not down": [
                ("math.ceil(groups * bits / 8)", "groups * bits // 8")
            ],
            "a symmetric matrix has no zero-points": [("0 if symmetric else ", "")],
            "asymmetric matrices have zero-points, symmetric ones do not": [("0 if symmetric", "0 if not symmetric")],
            "scales and zero-points are stored too: they count in the bits per weight": [
                ("8 * (codes + scales + zero_points)", "8 * codes")
            ],
            "a byte is 8 bits": [("8 * (codes", "(codes")],
            "without a group size, a row is one group": [("inputs if group_size is None", "1 if group_size is None")],
            "the bits per weight count the whole bytes, after rounding up": [
                (
                    "8 * (codes + scales + zero_points) / (outputs * inputs)",
                    "bits + groups * (16 + (0 if symmetric else bits)) / (outputs * inputs)",
                )
            ],
        },
    ),
    "08.5": Mistakes(
        "smooth",
        {
            "the shift comes out of the norm too: divide it as well": [("shift / factors", "shift")],
            "the weights are multiplied by the factors, gain and shift divided": [
                (
                    "weight * factors, gain / factors, shift / factors",
                    "weight / factors, gain * factors, shift * factors",
                )
            ],
            "`alpha` is the exponent of the inputs, 1 - alpha that of the weights": [
                (_FACTORS, "rows.abs().amax(dim=0) ** (1 - alpha) / weight.abs().amax(dim=0) ** alpha")
            ],
            "the largest |x| of a channel is needed, not the mean": [
                ("rows.abs().amax(dim=0)", "rows.abs().mean(dim=0)")
            ],
            "the largest |x|: take abs() before the maximum": [
                ("rows.abs().amax(dim=0)", "rows.amax(dim=0).clamp(min=1e-2)")
            ],
            "divide by the power of max|w|": [("alpha / weight", "alpha * weight")],
            "each channel has a factor of its own: the largest |w| of its column": [
                ("weight.abs().amax(dim=0)", "weight.abs().max()")
            ],
            "nothing has changed: multiply the weights by the factors": [
                ("weight * factors, gain / factors, shift / factors", "weight, gain, shift")
            ],
            "the exponent depends on `alpha`": [("** alpha", "** 0.5"), ("(1 - alpha)", "0.5")],
        },
    ),
}
