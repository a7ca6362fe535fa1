"""Known mistakes of exercise 06: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_BIAS = "(before - mean) * gain + beta"
_SUMS = "(x.int() - zero_x) @ weight.int().T + bias"
_SCALED = "(sums.long() * multiplier + half) >> shift"
_LAST = "(scaled + zero_y).clamp(0, 255).to(torch.uint8)"
_LOW = "(1 - self.momentum) * self.low + self.momentum * low"
_HIGH = "(1 - self.momentum) * self.high + self.momentum * high"
_ROUNDED = "torch.round(values / scale).clamp(0, 2**bits - 1) * scale"
_ERROR = "(values - becomes).square().mean().item()"
_MIN = "return min(candidates, key=error)"
_MEAN = """
class MovingAverageObserver:
    def __init__(self, momentum):
        self.lows, self.highs = [], []

    def observe(self, x):
        self.lows.append(x.min().item())
        self.highs.append(x.max().item())

    def range(self):
        if not self.lows:
            raise ValueError("nothing")
        return sum(self.lows) / len(self.lows), sum(self.highs) / len(self.highs)
"""
_SHARED = """
class MovingAverageObserver:
    ends = []

    def __init__(self, momentum):
        self.momentum = momentum

    def observe(self, x):
        low, high = x.min().item(), x.max().item()
        old = self.ends[-1] if self.ends else (low, high)
        self.ends.append(tuple((1 - self.momentum) * a + self.momentum * b for a, b in zip(old, (low, high))))

    def range(self):
        if not self.ends:
            raise ValueError("nothing")
        return self.ends[-1]
"""
_HOOK = "lambda one, inputs, ends=ends[layer]: (self._rounded(inputs[0], *ends),)"

MISTAKES = {
    "06.1": Mistakes(
        "fold_norm",
        {
            "divide by the root of the variance, not by the variance": [("torch.sqrt(var + eps)", "(var + eps)")],
            "`eps` is added to the variance, under the root": [("torch.sqrt(var + eps)", "(torch.sqrt(var) + eps)")],
            "use the eps that is given, not one of your own": [("var + eps", "var + 1e-3")],
            "`eps` is missing under the root": [("torch.sqrt(var + eps)", "torch.sqrt(var)")],
            "`gamma` is missing: each channel is multiplied with it": [("gamma / torch", "1 / torch")],
            "the old bias goes through the norm too: it is multiplied like the weight": [
                (_BIAS, "before + beta - mean * gain")
            ],
            "the mean is multiplied too: the norm subtracts it before it scales": [
                (_BIAS, "before * gain - mean + beta")
            ],
            "the layer's old bias is missing": [(_BIAS, "beta - mean * gain")],
            "`beta` is added at the end: it is not multiplied": [(_BIAS, "(before - mean + beta) * gain")],
            "the norm subtracts the mean: mind the sign": [(_BIAS, "(before + mean) * gain + beta")],
            "there is one factor for each output channel, the first dimension of the weight": [
                ("[-1] + [1] * (weight.dim() - 1)", "[1, -1] + [1] * (weight.dim() - 2)")
            ],
        },
    ),
    "06.2": Mistakes(
        "integer_linear",
        {
            "subtract the zero-point of the input: (x - zero_x)": [("(x.int() - zero_x)", "x.int()")],
            "uint8 wraps around when you subtract: convert to int32 before": [
                ("(x.int() - zero_x)", "(x - zero_x).int()")
            ],
            "the bias belongs to the sums": [(_SUMS, "(x.int() - zero_x) @ weight.int().T")],
            "`>>` rounds down: add half of 2**shift before": [("multiplier + half", "multiplier")],
            "the product with the multiplier needs 64 bits: convert the sums with long()": [
                ("(sums.long() * multiplier + half)", "(sums * multiplier + (1 << (min(shift, 31) - 1)))")
            ],
            "a result outside 0 … 255 wraps around in the cast to uint8: clamp first": [(".clamp(0, 255)", "")],
            "add zero_y before the clamp, not after it": [
                ("(scaled + zero_y).clamp(0, 255)", "(scaled.clamp(0, 255) + zero_y)")
            ],
            "zero_y has to be added": [("(scaled + zero_y)", "scaled")],
            "a row of the weight belongs to one output: multiply with the transpose": [
                (_SUMS, "((x.int() - zero_x)[:, None] * weight.int()[None]).sum(1)[:, : len(weight)] + bias")
            ],
            "float32 holds whole numbers only up to 2**24: compute with integers throughout": [
                (_SUMS, "((x.float() - zero_x) @ weight.float().T + bias.float()).long()")
            ],
            "float64 holds whole numbers only up to 2**53, and this product is larger: compute with integers": [
                (_SUMS, "(x.double() - zero_x) @ weight.double().T + bias.double()"),
                (_SCALED, "torch.floor(sums * multiplier / 2.0**shift + 0.5)"),
            ],
        },
    ),
    "06.3": Mistakes(
        "MovingAverageObserver",
        {
            "the old range weighs 1 - momentum and the new one momentum": [
                (_LOW, "self.momentum * self.low + (1 - self.momentum) * low"),
                (_HIGH, "self.momentum * self.high + (1 - self.momentum) * high"),
            ],
            "the ends of the range are averaged; they do not keep the extremes of all batches": [
                (_LOW, "min(self.low, low)"),
                (_HIGH, "max(self.high, high)"),
            ],
            "the first batch sets both ends; the average does not start at 0": [
                ("            self.low, self.high = low, high", "            self.low = self.high = 0.0")
            ],
            "both ends move, low as well": [(_LOW, "self.low")],
            "the older batches count too, not only the last one": [(_LOW, "low"), (_HIGH, "high")],
            "low is the smallest value, not the largest magnitude with a minus": [
                ("x.min().item(), x.max().item()", "-x.abs().max().item(), x.abs().max().item()")
            ],
            "the plain mean over all batches is something else than a moving average": _MEAN,
            "what is observed must be stored in `self`, not in the class": _SHARED,
            "0 is falsy: `not self.low` is true for a range that begins at 0; ask `is None`": [
                ("        if self.low is None:\n            self.low", "        if not self.low:\n            self.low")
            ],
            "0 is falsy: a range that begins at 0 was observed; ask `is None`": [
                ("        if self.low is None:\n            raise", "        if not self.low:\n            raise")
            ],
        },
    ),
    "06.4": Mistakes(
        "best_clip",
        {
            "a high clip rounds coarsely: the largest candidate has the largest error here; the smallest is asked": [
                (_MIN, "return max(candidates)")
            ],
            "rounding has an error too, not only clipping": [
                (_ERROR, "(values - values.clamp(max=clip)).square().mean().item()")
            ],
            "values above the clip become the last level: clamp the integers, and count their error too": [
                (".clamp(0, 2**bits - 1)", "")
            ],
            "a percentile does not look at the error: compute it for every candidate": [
                (_MIN, "return min(candidates, key=lambda one: abs(one - values.quantile(0.99).item()))")
            ],
            "the integers are unsigned: 2**bits - 1 steps": [("2**bits - 1", "2 ** (bits - 1) - 1")],
            "return the candidate itself, not its place": [
                (_MIN, "return candidates.index(min(candidates, key=error))")
            ],
            "return the candidate itself, not its error": [(_MIN, "return error(min(candidates, key=error))")],
            "of equal errors the first candidate in the list counts": [
                (_MIN, "return min(reversed(candidates), key=error)")
            ],
            "of equal errors the first in the list counts: do not sort the candidates": [
                (_MIN, "return min(sorted(candidates), key=error)")
            ],
        },
    ),
    "06.5": Mistakes(
        "Quantizer",
        {
            "dropout was active during the calibration: put the copy into eval mode first": [
                ("copy.deepcopy(self.model).eval()", "copy.deepcopy(self.model).train()"),
                ("        return quantized", "        return quantized.eval()"),
            ],
            "all calibration batches count, not only the first": [
                ("in self.calibration_data:", "in self.calibration_data[:1]:")
            ],
            "the inputs of the layers are not rounded yet": [(_HOOK, "lambda one, inputs: None")],
            "the range covers all batches: each one overwrites the range of those before": [
                (
                    "min(low, inputs[0].min().item()), max(high, inputs[0].max().item())",
                    "min(0.0, inputs[0].min().item()), max(0.0, inputs[0].max().item())",
                )
            ],
            "linear layers are quantized too, not only convolutions": [("(nn.Conv2d, nn.Linear)", "nn.Conv2d")],
            "layers inside other modules count too: use modules(), not children()": [
                ("quantized.modules()", "quantized.children()")
            ],
            "only Conv2d and Linear layers are quantized, not everything that has a weight": [
                ("isinstance(layer, (nn.Conv2d, nn.Linear))", "hasattr(layer, 'weight')")
            ],
            "each output channel has a scale of its own; you use one for the whole weight": [
                ("weight.flatten(1).abs().amax(dim=1)", "weight.abs().max().repeat(len(weight))")
            ],
            "the weights are not rounded yet": [("self._rounded_weight(layer.weight)", "layer.weight")],
            "a channel of zeros gets the scale 1: 0 / 0 is not a number": [
                ("torch.where(scale > 0, scale, 1.0)", "scale")
            ],
            "every layer uses the range of the last one: a closure looks its variables up when it runs; bind the range "
            "as a default (`ends=ends[layer]`)": [
                (_HOOK, "lambda one, inputs: (self._rounded(inputs[0], *ends[layer]),)")
            ],
            "the range must contain zero: widen it": [("[0.0, 0.0]", '[float("inf"), float("-inf")]')],
            "8 bits are 255 steps": [("255", "127")],
            "calibrate before the weights are rounded": [
                (
                    "        handles =",
                    "        for layer in layers:\n"
                    "            layer.weight.copy_(self._rounded_weight(layer.weight))\n        handles =",
                )
            ],
            "the integers are clamped to 0 … 255: new inputs can be outside the range": [(".clamp(0, 255)", "")],
        },
    ),
}
