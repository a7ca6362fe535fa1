"""Answers to exercise 06 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers

HEAD = "def fold_norm(weight, bias, gamma, beta, mean, var, eps):\n"


def fold(
    gain="gamma / torch.sqrt(var + eps)", shift="(start - mean) * gain + beta", view="(-1,) + (1,) * (weight.dim() - 1)"
):
    return f"""{HEAD}    gain = {gain}
    start = torch.zeros_like(mean) if bias is None else bias
    return weight * gain.view({view}), {shift}
"""


FOLD = Answers(
    name="fold_norm",
    wrong={
        "the variance instead of its root": fold(gain="gamma / (var + eps)"),
        "an eps of its own": fold(gain="gamma / torch.sqrt(var + 1e-3)"),
        "without eps": fold(gain="gamma / torch.sqrt(var)"),
        "without gamma": fold(gain="1 / torch.sqrt(var + eps)"),
        "the bias does not pass through the norm": fold(shift="start + beta - mean * gain"),
        "the mean is not scaled": fold(shift="(start * gain) - mean + beta"),
        "the bias is forgotten": fold(shift="beta - mean * gain"),
        "beta is scaled too": fold(shift="(start - mean + beta) * gain"),
        "the wrong sign": fold(shift="(start + mean) * gain + beta"),
        "along the inputs": fold(view="(1, -1) + (1,) * (weight.dim() - 2)"),
        "only the weight": fold().replace(", (start - mean) * gain + beta", ""),
        "eps outside of the root": fold(gain="gamma / (torch.sqrt(var) + eps)"),
    },
    advice={
        "the variance instead of its root": "not by the variance",
        "an eps of its own": "not one of your own",
        "without eps": "`eps` is missing",
        "without gamma": "`gamma` is missing",
        "the bias does not pass through the norm": "goes through the norm too",
        "the mean is not scaled": "The mean is multiplied too",
        "the bias is forgotten": "old bias is missing",
        "beta is scaled too": "it is not multiplied",
        "the wrong sign": "mind the sign",
        "along the inputs": "first dimension of the weight",
        "only the weight": "the new weight and the new bias",
        "eps outside of the root": "under the root",
    },
    right={
        "channel by channel": f"""{HEAD}    rows, shifts = [], []
    for c in range(len(weight)):
        gain = gamma[c] * (var[c] + eps) ** -0.5
        rows.append(weight[c] * gain)
        shifts.append(beta[c] + ((0 if bias is None else bias[c]) - mean[c]) * gain)
    return torch.stack(rows), torch.stack(shifts)
""",
        "with einsum": f"""{HEAD}    gain = gamma * (var + eps).rsqrt()
    offset = -mean if bias is None else bias - mean
    return torch.einsum("c,c...->c...", gain, weight), torch.addcmul(beta, offset, gain)
""",
    },
)

LINEAR = "def integer_linear(x, zero_x, weight, bias, multiplier, shift, zero_y):\n"


def linear(
    sums="(x.int() - zero_x) @ weight.int().T + bias",
    scaled="(sums.long() * multiplier + (1 << (shift - 1))) >> shift",
    last="(scaled + zero_y).clamp(0, 255).to(torch.uint8)",
):
    return f"{LINEAR}    sums = {sums}\n    scaled = {scaled}\n    return {last}\n"


INTEGER = Answers(
    name="integer_linear",
    wrong={
        "no zero-point of the input": linear(sums="x.int() @ weight.int().T + bias"),
        "uint8 wraps around": linear(sums="(x - zero_x).int() @ weight.int().T + bias"),
        "no bias": linear(sums="(x.int() - zero_x) @ weight.int().T"),
        "rounds down": linear(scaled="(sums.long() * multiplier) >> shift"),
        "the product in 32 bits": linear(scaled="(sums * multiplier + (1 << (min(shift, 31) - 1))) >> shift"),
        "no clamp": linear(last="(scaled + zero_y).to(torch.uint8)"),
        "clamped before the zero-point": linear(last="(scaled.clamp(0, 255) + zero_y).to(torch.uint8)"),
        "no zero-point of the output": linear(last="scaled.clamp(0, 255).to(torch.uint8)"),
        "int32 out": linear(last="(scaled + zero_y).clamp(0, 255).int()"),
        "not transposed": linear(
            sums="((x.int() - zero_x)[:, None] * weight.int()[None]).sum(1)[:, : len(weight)] + bias"
        ),
        "single precision": linear(
            sums="(x.float() - zero_x) @ weight.float().T + bias.float()",
            scaled="torch.floor(sums * (multiplier / 2.0**shift) + 0.5)",
        ),
        "sums in single precision": linear(sums="((x.float() - zero_x) @ weight.float().T + bias).long()"),
        "double precision": linear(
            sums="(x.double() - zero_x) @ weight.double().T + bias",
            scaled="torch.floor(sums * multiplier / 2.0**shift + 0.5)",
        ),
    },
    advice={
        "no zero-point of the input": "(x - zero_x)",
        "uint8 wraps around": "wraps around when you subtract",
        "no bias": "The bias belongs to the sums",
        "rounds down": "`>>` rounds down",
        "the product in 32 bits": "needs 64 bits",
        "no clamp": "clamp first",
        "clamped before the zero-point": "before the clamp, not after",
        "no zero-point of the output": "zero_y has to be added",
        "int32 out": "dtype torch.uint8",
        "not transposed": "multiply with the transpose",
        "single precision": "compute with integers throughout",
        "sums in single precision": "float32 holds whole numbers only up to 2**24",
        "double precision": "float64 holds whole numbers only up to 2**53",
    },
    right={
        "in 64 bits from the start": linear(sums="(x.long() - zero_x) @ weight.long().T + bias.long()"),
        "with einsum and a division": linear(
            sums="torch.einsum('ni,oi->no', x.int() - zero_x, weight.int()) + bias",
            scaled="torch.div(sums.long() * multiplier + 2 ** (shift - 1), 2**shift, rounding_mode='floor')",
        ),
    },
)


def observer(
    first="self.low, self.high = low, high",
    low="(1 - m) * self.low + m * low",
    high="(1 - m) * self.high + m * high",
    empty="raise ValueError('nothing was observed')",
    ends="x.min().item(), x.max().item()",
):
    return f"""
class MovingAverageObserver:
    def __init__(self, momentum):
        self.momentum, self.low, self.high = momentum, None, None

    def observe(self, x):
        low, high = {ends}
        m = self.momentum
        if self.low is None:
            {first}
        else:
            self.low, self.high = {low}, {high}

    def range(self):
        if self.low is None:
            {empty}
        return self.low, self.high
"""


OBSERVER = Answers(
    name="MovingAverageObserver",
    wrong={
        "old and new swapped": observer(low="m * self.low + (1 - m) * low", high="m * self.high + (1 - m) * high"),
        "min and max, not averaged": observer(low="min(self.low, low)", high="max(self.high, high)"),
        "starts at zero": observer(first="self.low, self.high = m * low, m * high"),
        "only the high end moves": observer(low="self.low"),
        "the last batch": observer(low="low", high="high"),
        "magnitudes": observer(ends="-x.abs().max().item(), x.abs().max().item()"),
        "nothing seen is zero": observer(empty="return 0.0, 0.0"),
        "another error": observer(empty="raise RuntimeError('nothing')"),
        "what is remembered is shared": """
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
""",
        "the mean of all batches": """
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
""",
        "zero is falsy in observe": observer().replace(
            "if self.low is None:\n            self.low", "if not self.low:\n            self.low"
        ),
        "zero is falsy in range": observer().replace(
            "if self.low is None:\n            raise", "if not self.low:\n            raise"
        ),
    },
    advice={
        "old and new swapped": "The old range weighs 1 - momentum",
        "min and max, not averaged": "do not keep the extremes",
        "starts at zero": "does not start at 0",
        "only the high end moves": "low as well",
        "the last batch": "not only the last one",
        "magnitudes": "not the largest magnitude",
        "nothing seen is zero": "raises a ValueError",
        "another error": "raises a ValueError",
        "what is remembered is shared": "not in the class",
        "the mean of all batches": "something else than a moving average",
        "zero is falsy in observe": "0 is falsy",
        "zero is falsy in range": "0 is falsy",
    },
    right={
        "a tensor of both ends": """
class MovingAverageObserver:
    def __init__(self, momentum):
        self.momentum, self.ends = momentum, None
    def observe(self, x):
        new = torch.stack([x.min(), x.max()]).double()
        self.ends = new if self.ends is None else torch.lerp(self.ends, new, self.momentum)
    def range(self):
        if self.ends is None:
            raise ValueError("observe something first")
        return tuple(self.ends.tolist())
""",
        "moves by a share of the difference": observer(
            low="self.low + m * (low - self.low)", high="self.high + m * (high - self.high)"
        ),
    },
)


def clip(scale="clip / (2**bits - 1)", values="torch.round(values / scale).clamp(0, 2**bits - 1) * scale", **how):
    error = how.get("error", "(values - rounded).square().mean().item()")
    pick = how.get("pick", "min")
    return f"""
def best_clip(values, bits, candidates):
    values = values.double()
    def error(clip):
        scale = {scale}
        rounded = {values}
        return {error}
    return {pick}(candidates, key=error)
"""


CLIP = Answers(
    name="best_clip",
    wrong={
        "the largest error": clip(pick="max"),
        "nothing is clipped": "def best_clip(values, bits, candidates):\n    return max(candidates)\n",
        "clipped values do not count": clip(error="(values - rounded)[values <= clip].square().mean().item()"),
        "only clipped values count": clip(error="(values - values.clamp(max=clip)).square().mean().item()"),
        "no clamp": clip(values="torch.round(values / scale) * scale"),
        "a percentile": "def best_clip(values, bits, candidates):\n"
        "    goal = values.quantile(0.99).item()\n    return min(candidates, key=lambda c: abs(c - goal))\n",
        "signed steps": clip(
            scale="clip / (2 ** (bits - 1) - 1)",
            values="torch.round(values / scale).clamp(0, 2 ** (bits - 1) - 1) * scale",
        ),
        "the place instead of the value": clip().replace(
            "return min(candidates, key=error)", "return candidates.index(min(candidates, key=error))"
        ),
        "the error instead of the clip": clip().replace(
            "return min(candidates, key=error)", "return error(min(candidates, key=error))"
        ),
        "the last of equals": clip().replace("min(candidates, key=error)", "min(candidates[::-1], key=error)"),
        "the smallest of equals": clip().replace("min(candidates, key=error)", "min(sorted(candidates), key=error)"),
    },
    advice={
        "the largest error": "smallest is asked",
        "nothing is clipped": "the largest candidate has the largest error",
        "clipped values do not count": "count their error too",
        "only clipped values count": "Rounding has an error too",
        "no clamp": "become the last level",
        "a percentile": "A percentile does not look at the error",
        "signed steps": "The integers are unsigned",
        "the place instead of the value": "not its place",
        "the error instead of the clip": "not its error",
        "the last of equals": "first candidate in the list",
        "the smallest of equals": "do not sort the candidates",
    },
    right={
        "a table of all": """
def best_clip(values, bits, candidates):
    clips = torch.tensor(candidates, dtype=torch.float64)[:, None]
    scale = clips / (2**bits - 1)
    rounded = torch.round(values.double()[None] / scale).clamp(max=2**bits - 1) * scale
    return candidates[int((rounded - values).square().sum(1).argmin())]
""",
        "a loop": """
def best_clip(values, bits, candidates):
    best, least = None, float("inf")
    for candidate in candidates:
        step = candidate / (2**bits - 1)
        stairs = torch.clamp(torch.round(values.double() / step), 0, 2**bits - 1)
        error = ((stairs * step - values) ** 2).sum().item()
        if error < least:
            best, least = candidate, error
    return best
""",
    },
)


def quantizer(twin="copy.deepcopy(self.model).eval()", low="min(low, x.min().item())", high="max(high, x.max().item())",
              batches="self.calibration_data", weight="rounded_weight(layer.weight)", kinds="(nn.Conv2d, nn.Linear)",
              layers="twin.modules()", widen="low, high = min(low, 0.0), max(high, 0.0)", steps="255", before="pass",
              ends="ends=ranges[layer]", last="return twin", scale="w.flatten(1).abs().amax(1)"):  # fmt: skip
    return f"""
def rounded_weight(w):
    s = {scale} / 127
    s = torch.where(s > 0, s, 1.0).view(-1, *[1] * (w.dim() - 1))
    return s * torch.round(w / s).clamp(-128, 127)

def rounded(x, low, high):
    {widen}
    s = (high - low) / {steps} or 1.0
    z = round(-low / s)
    return s * ((torch.round(x / s) + z).clamp(0, {steps}) - z)

class Quantizer:
    def __init__(self, model, calibration_data):
        self.model, self.calibration_data = model, calibration_data

    @torch.no_grad()
    def post_training_quantization(self):
        twin = {twin}
        layers = [layer for layer in {layers} if isinstance(layer, {kinds})]
        ranges = {{layer: (float("inf"), float("-inf")) for layer in layers}}
        def watch(layer, inputs):
            (low, high), x = ranges[layer], inputs[0]
            ranges[layer] = {low}, {high}
        {before}
        handles = [layer.register_forward_pre_hook(watch) for layer in layers]
        for batch in {batches}:
            twin(batch)
        for handle in handles:
            handle.remove()
        for layer in layers:
            layer.weight.copy_({weight})
            layer.register_forward_pre_hook(lambda one, inputs, {ends}: (rounded(inputs[0], *ends),))
        {last}
"""


QUANTIZER = Answers(
    name="Quantizer",
    wrong={
        "changes the original": quantizer(twin="self.model.eval()"),
        "calibrated with dropout": quantizer(twin="copy.deepcopy(self.model).train()", last="return twin.eval()"),
        "stays in training mode": quantizer(twin="copy.deepcopy(self.model)"),
        "the first batch only": quantizer(batches="self.calibration_data[:1]"),
        "the last batch only": quantizer(low="x.min().item()", high="x.max().item()"),
        "no linear layer": quantizer(kinds="(nn.Conv2d,)"),
        "not the nested layers": quantizer(layers="twin.children()"),
        "weights per tensor": quantizer(scale="w.abs().max().repeat(len(w))"),
        "weights rounded before the calibration": quantizer(
            before="for layer in layers:\n            layer.weight.copy_(rounded_weight(layer.weight))"
        ),
        "weights as they were": quantizer(weight="layer.weight"),
        "activations as they were": quantizer(ends="ends=(0, 0)").replace("(rounded(inputs[0], *ends),)", "inputs"),
        "the range of the last layer for all": quantizer(ends="ends=ranges[layers[-1]]"),
        "a range without zero": quantizer(widen="pass"),
        "seven bits": quantizer(steps="127"),
        "no model": quantizer(last="return twin.state_dict()"),
        "everything with a weight": quantizer().replace(
            "isinstance(layer, (nn.Conv2d, nn.Linear))", "hasattr(layer, 'weight')"
        ),
        "a channel of zeros divides by zero": quantizer().replace("torch.where(s > 0, s, 1.0)", "s"),
        "a late-binding closure": quantizer(ends="*rest").replace("*ends),)", "*ranges[layer]),)"),
        "new inputs are not clamped": quantizer().replace(".clamp(0, 255)", ""),
    },
    advice={
        "changes the original": "original model was changed",
        "calibrated with dropout": "Dropout was active",
        "stays in training mode": "should be in eval mode",
        "the first batch only": "not only the first",
        "the last batch only": "overwrites the range",
        "no linear layer": "Linear layers are quantized too",
        "not the nested layers": "use modules(), not children()",
        "weights per tensor": "you use one for the whole weight",
        "weights rounded before the calibration": "Calibrate before the weights are rounded",
        "weights as they were": "weights are not rounded yet",
        "activations as they were": "inputs of the layers are not rounded yet",
        "the range of the last layer for all": "range of the last one",
        "a range without zero": "must contain zero",
        "seven bits": "8 bits are 255 steps",
        "no model": "Return the model itself",
        "everything with a weight": "not everything that has a weight",
        "a channel of zeros divides by zero": "A channel of zeros gets the scale 1",
        "a late-binding closure": "range of the last one",
        "new inputs are not clamped": "can be outside the range",
    },
    right={
        "as asked": quantizer(),
        "forward is replaced": """
class Quantizer:
    def __init__(self, model, calibration_data):
        self.model, self.data = model, calibration_data

    def post_training_quantization(self):
        twin = copy.deepcopy(self.model)
        twin.eval()
        seen = {}
        chosen = {name: one for name, one in twin.named_modules() if isinstance(one, (nn.Conv2d, nn.Linear))}
        def watcher(name):
            def watch(layer, inputs, output):
                seen.setdefault(name, []).append(inputs[0].detach().flatten())
            return watch
        handles = [one.register_forward_hook(watcher(name)) for name, one in chosen.items()]
        with torch.no_grad():
            for batch in self.data:
                twin(batch)
        [handle.remove() for handle in handles]
        for name, one in chosen.items():
            everything = torch.cat([*seen[name], torch.zeros(1)])
            step = (everything.max() - everything.min()).item() / 255
            zero = round(-everything.min().item() / step)
            weight = one.weight.data
            size = weight.reshape(len(weight), -1).abs().max(1).values / 127
            size = torch.where(size > 0, size, 1.0).reshape(-1, *[1] * (weight.dim() - 1))
            one.weight.data = torch.round(weight / size) * size
            one.forward = self.rounding(one.forward, step, zero)
        return twin

    def rounding(self, forward, step, zero):
        return lambda x: forward((torch.clamp(torch.round(x / step) + zero, 0, 255) - zero) * step)
""",
    },
)

ANSWERS = {"06.1": FOLD, "06.2": INTEGER, "06.3": OBSERVER, "06.4": CLIP, "06.5": QUANTIZER}
