"""Answers to exercise 07 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers, changed, solution

_STRAIGHT = solution("07.1")
STRAIGHT = Answers(
    name="fake_quantize",
    wrong={
        "plain rounding: no gradient at all": """
def fake_quantize(x, scale, qmin, qmax):
    return scale * (x / scale).round().clamp(qmin, qmax)
""",
        "everything detached": """
def fake_quantize(x, scale, qmin, qmax):
    return (scale * (x / scale).round().clamp(qmin, qmax)).detach()
""",
        "the gradient passes outside the range too": """
def fake_quantize(x, scale, qmin, qmax):
    rounded = scale * (x / scale).round().clamp(qmin, qmax)
    return x + (rounded - x).detach()
""",
        "no clamp": """
def fake_quantize(x, scale, qmin, qmax):
    return x + (scale * (x / scale).round() - x).detach()
""",
        "rounds down": changed(_STRAIGHT, ("steps.round()", "steps.floor()")),
        "halves always go up": changed(_STRAIGHT, ("steps.round()", "(steps + 0.5).floor()")),
        "integers instead of values": changed(_STRAIGHT, ("scale * (steps", "(steps")),
        "gradient multiplied by the scale": """
def fake_quantize(x, scale, qmin, qmax):
    steps = x.clamp(qmin * scale, qmax * scale)
    rounded = scale * (steps / scale).round()
    return scale * steps + (rounded - scale * steps).detach()
""",
        "symmetric range": changed(_STRAIGHT, ("clamp(qmin, qmax)", "clamp(-qmax, qmax)")),
        "the library's function": """
def fake_quantize(x, scale, qmin, qmax):
    return torch.fake_quantize_per_tensor_affine(x, scale, 0, qmin, qmax)
""",
    },
    advice={
        "plain rounding: no gradient at all": "gradient of round",
        "everything detached": "add the rounding error as a constant",
        "the gradient passes outside the range too": "Outside the range the gradient is 0",
        "no clamp": "end at qmin and qmax",
        "rounds down": "not always down",
        "halves always go up": "Halves go to the even neighbour",
        "integers instead of values": "Multiply the integers with the scale",
        "gradient multiplied by the scale": "not the scale",
        "symmetric range": "not at -qmax",
        "the library's function": "uses `torch.fake_quantize_per_tensor_affine`",
    },
    right={
        "a mask": """
def fake_quantize(x, scale, qmin, qmax):
    steps = x / scale
    inside = (steps >= qmin) & (steps <= qmax)
    through = torch.where(inside, x, x.detach())
    return through + (scale * steps.round().clamp(qmin, qmax) - through).detach()
""",
        "a function with a backward of its own": """
class Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, qmin, qmax):
        steps = x / scale
        ctx.save_for_backward((steps >= qmin) & (steps <= qmax))
        return scale * steps.round().clamp(qmin, qmax)

    @staticmethod
    def backward(ctx, upstream):
        (inside,) = ctx.saved_tensors
        return upstream * inside, None, None, None

def fake_quantize(x, scale, qmin, qmax):
    return Through.apply(x, scale, qmin, qmax)
""",
        "clamped in real numbers": """
def fake_quantize(x, scale, qmin, qmax):
    clipped = torch.clamp(x, qmin * scale, qmax * scale)
    on_grid = scale * torch.clamp(torch.round(x.detach() / scale), qmin, qmax)
    return clipped - clipped.detach() + on_grid
""",
    },
)

_STEP = solution("07.2")
STEP = Answers(
    name="step_gradient",
    wrong={
        "only what lies inside": """
def step_gradient(x, scale, qmin, qmax, upstream):
    steps = x / scale
    inside = (steps >= qmin) & (steps <= qmax)
    return (upstream * (steps.round() - steps) * inside).sum() / math.sqrt(x.numel() * qmax)
""",
        "only what lies outside": """
def step_gradient(x, scale, qmin, qmax, upstream):
    steps = x / scale
    outside = (steps < qmin) | (steps > qmax)
    return (upstream * steps.clamp(qmin, qmax) * outside).sum() / math.sqrt(x.numel() * qmax)
""",
        "sign turned around inside": changed(_STEP, ("steps.round() - steps", "steps - steps.round()")),
        "the rounded integer inside": """
def step_gradient(x, scale, qmin, qmax, upstream):
    return (upstream * (x / scale).round().clamp(qmin, qmax)).sum() / math.sqrt(x.numel() * qmax)
""",
        "no factor": changed(_STEP, (" / math.sqrt(x.numel() * qmax)", "")),
        "a mean": changed(_STEP, (".sum() / math.sqrt(x.numel() * qmax)", ".mean()")),
        "no root": changed(_STEP, ("math.sqrt(x.numel() * qmax)", "(x.numel() * qmax)")),
        "upstream forgotten": changed(_STEP, ("(upstream * moved)", "moved")),
        "below the range counts as above": changed(
            _STEP, ("steps.clamp(qmin, qmax))", "torch.full_like(steps, float(qmax)))")
        ),
    },
    advice={
        "only what lies inside": "Values outside the range contribute too",
        "only what lies outside": "Values inside the range contribute too",
        "sign turned around inside": "not v - round(v)",
        "the rounded integer inside": "not the rounded integer alone",
        "no factor": "by the root of N · qmax",
        "a mean": "a mean divides by N",
        "no root": "not by N · qmax",
        "upstream forgotten": "its entry of upstream",
        "below the range counts as above": "contributes qmin",
    },
    right={
        "autograd with straight-through rounding": """
def step_gradient(x, scale, qmin, qmax, upstream):
    s = torch.tensor(float(scale), requires_grad=True)
    steps = (x.detach() / s).clamp(qmin, qmax)
    (steps + (steps.round() - steps).detach()).mul(s).backward(upstream)
    return s.grad / math.sqrt(x.numel() * qmax)
""",
        "one value after the other": """
def step_gradient(x, scale, qmin, qmax, upstream):
    total = 0.0
    for value, above in zip(x.double().flatten().tolist(), upstream.double().flatten().tolist()):
        step = value / scale
        total += above * (qmin if step < qmin else qmax if step > qmax else round(step) - step)
    return total / (x.numel() * qmax) ** 0.5
""",
        "rounded value minus value": """
def step_gradient(x, scale, qmin, qmax, upstream):
    steps = x / scale
    through = steps * ((steps >= qmin) & (steps <= qmax))
    return torch.sum(upstream * (steps.round().clamp(qmin, qmax) - through)) * (x.numel() * qmax) ** -0.5
""",
    },
)

_MODES = solution("07.3")
MODES = Answers(
    name="train_mode",
    wrong={
        "everything in eval mode": """
def train_mode(model, norms_frozen):
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    return len(norms) if norms_frozen else 0
""",
        "only direct children": changed(_MODES, ("model.modules()", "model.children()")),
        "parameters frozen instead of statistics": changed(
            _MODES, ("norm.train(not norms_frozen)", "norm.requires_grad_(not norms_frozen)")
        ),
        "parameters frozen as well": changed(
            _MODES, ("norm.train(not norms_frozen)", "norm.train(not norms_frozen).requires_grad_(not norms_frozen)")
        ),
        "train() comes last": changed(
            _MODES, ("    model.train()\n", ""), ("    return len", "    model.train()\n    return len")
        ),
        "never thawed": """
def train_mode(model, norms_frozen):
    for module in model.modules():
        if not isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.training = True
    norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    if norms_frozen:
        for norm in norms:
            norm.eval()
    return len(norms) if norms_frozen else 0
""",
        "counts norms that are not frozen": changed(_MODES, (" if norms_frozen else 0", "")),
        "only norms of images": changed(_MODES, ("(nn.BatchNorm1d, nn.BatchNorm2d)", "nn.BatchNorm2d")),
        "no count": changed(_MODES, ("    return len(norms) if norms_frozen else 0\n", "")),
        "every kind of norm": changed(
            _MODES, ("isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))", "'Norm' in type(module).__name__")
        ),
    },
    advice={
        "everything in eval mode": "model.train() first",
        "only direct children": "use modules(), not children()",
        "parameters frozen instead of statistics": "requires_grad has nothing to do with it",
        "parameters frozen as well": "requires_grad has nothing to do with it",
        "train() comes last": "not after",
        "never thawed": "must train again",
        "counts norms that are not frozen": "0 if no norm is frozen",
        "only norms of images": "BatchNorm1d is frozen too",
        "no count": "Is there a return statement",
        "every kind of norm": "other norms are not counted",
    },
    right={
        "flag by flag": """
def train_mode(model, norms_frozen):
    frozen = 0
    for module in model.modules():
        stays = norms_frozen and isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
        module.training = not stays
        frozen += stays
    return frozen
""",
        "by name": """
def train_mode(model, norms_frozen):
    model.train(True)
    if not norms_frozen:
        return 0
    names = [name for name, module in model.named_modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for name in names:
        model.get_submodule(name).eval()
    return len(names)
""",
    },
)

_FOLD = solution("07.4")
FOLD = Answers(
    name="fold_and_quantize",
    wrong={
        "rounded first, folded into the scale": """
def fold_and_quantize(weight, norm, bits):
    gain = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    qmax = 2 ** (bits - 1) - 1
    largest = weight.abs().flatten(1).amax(dim=1)
    scale = torch.where(largest > 0, largest / qmax, 1.0)
    integers = (weight / scale.view(-1, 1, 1, 1)).round().to(torch.int8)
    return integers, scale * gain, norm.bias.detach() - norm.running_mean * gain
""",
        "one scale for all channels": """
def fold_and_quantize(weight, norm, bits):
    gain = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    folded = weight * gain.view(-1, 1, 1, 1)
    scale = (folded.abs().max() / (2 ** (bits - 1) - 1)).expand(len(weight))
    integers = (folded / scale.view(-1, 1, 1, 1)).round().to(torch.int8)
    return integers, scale, norm.bias.detach() - norm.running_mean * gain
""",
        "eps forgotten": changed(_FOLD, ("(norm.running_var + norm.eps).sqrt()", "norm.running_var.sqrt()")),
        "variance instead of its root": changed(_FOLD, (".sqrt()", "")),
        "mean not multiplied": changed(_FOLD, ("norm.running_mean * gain", "norm.running_mean")),
        "2^(bits-1) steps": changed(
            _FOLD, ("(2 ** (bits - 1) - 1)", "2 ** (bits - 1)"), (".round()", ".round().clamp(-128, 127)")
        ),
        "a channel of zeros divides by zero": changed(
            _FOLD, ("torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)", "largest / (2 ** (bits - 1) - 1)")
        ),
        "cut off instead of rounded": changed(_FOLD, (".round()", "")),
        "input channels": changed(
            _FOLD,
            (".flatten(1).amax(dim=1)", ".amax(dim=(0, 2, 3))"),
            ("scale.view(-1, 1, 1, 1)", "scale.view(1, -1, 1, 1)"),
        ),
        "eps outside of the root": changed(
            _FOLD, ("(norm.running_var + norm.eps).sqrt()", "(norm.running_var.sqrt() + norm.eps)")
        ),
    },
    advice={
        "rounded first, folded into the scale": "Fold first, then round",
        "one scale for all channels": "not one for all",
        "eps forgotten": "`eps` is missing",
        "variance instead of its root": "not by the variance",
        "mean not multiplied": "The mean is multiplied",
        "2^(bits-1) steps": "not 2**(bits-1)",
        "a channel of zeros divides by zero": "A channel of zeros gets the scale 1",
        "cut off instead of rounded": "Round before the cast",
        "input channels": "first dimension of the weight",
        "eps outside of the root": "`eps` is added to the variance, under the root",
    },
    right={
        "channel by channel": """
def fold_and_quantize(weight, norm, bits):
    qmax, integers, scales, biases = 2 ** (bits - 1) - 1, [], [], []
    for c in range(len(weight)):
        factor = norm.weight[c].detach() / torch.sqrt(norm.running_var[c] + norm.eps)
        channel = weight[c] * factor
        scale = channel.abs().max() / qmax
        if scale == 0:
            scale = torch.tensor(1.0)
        integers.append(torch.round(channel / scale).to(torch.int8))
        scales.append(scale)
        biases.append(norm.bias[c].detach() - norm.running_mean[c] * factor)
    return torch.stack(integers), torch.stack(scales), torch.stack(biases)
""",
        "the scale comes out of the library": """
def fold_and_quantize(weight, norm, bits):
    gain = norm.weight.detach() * (norm.running_var + norm.eps) ** -0.5
    folded = torch.einsum("oikl,o->oikl", weight, gain)
    scale = folded.abs().amax(dim=(1, 2, 3)) / (2 ** (bits - 1) - 1)
    scale[scale == 0] = 1
    integers = torch.round(folded / scale[:, None, None, None])
    return integers.char(), scale, norm.bias.detach() - gain * norm.running_mean
""",
    },
)

_CHOICE = solution("07.5")
CHOICE = Answers(
    name="choose_bits",
    wrong={
        "the most bits, whatever they cost": """
def choose_bits(options, budget):
    return {layer: max(widths) for layer, widths in options.items()}
""",
        "the same width everywhere": """
def choose_bits(options, budget):
    for bits in (8, 4, 3, 2):
        chosen = {layer: bits for layer in options}
        if sum(options[layer][bits][0] for layer in options) <= budget:
            return chosen
    return None
""",
        "the fewest bits": """
def choose_bits(options, budget):
    chosen = {layer: min(widths) for layer, widths in options.items()}
    return chosen if sum(options[layer][bits][0] for layer, bits in chosen.items()) <= budget else None
""",
        "must be below the budget": changed(_CHOICE, ("size <= budget", "size < budget")),
        "the largest damage": changed(_CHOICE, ("math.inf", "-1"), ("damage < least", "damage > least")),
        "the fullest budget": changed(
            _CHOICE,
            ("math.inf", "1"),
            ("damage < least", "-size < least"),
            ("strict=True)), damage", "strict=True)), -size"),
        ),
        "the worst layer decides": changed(_CHOICE, ("sum(damage for", "max(damage for")),
        "an empty dictionary when nothing fits": changed(_CHOICE, ("best, least = None", "best, least = {}")),
        "a list of widths": changed(_CHOICE, ("dict(zip(options, widths, strict=True))", "list(widths)")),
        "all layers offer the same widths": """
def choose_bits(options, budget):
    best, least = None, float("inf")
    first = next(iter(options.values()))
    for widths in itertools.product(first, repeat=len(options)):
        pairs = [options[layer].get(bits, (10**9, 0)) for layer, bits in zip(options, widths)]
        if sum(size for size, _ in pairs) <= budget and sum(damage for _, damage in pairs) < least:
            best, least = dict(zip(options, widths)), sum(damage for _, damage in pairs)
    return best
""",
    },
    advice={
        "the most bits, whatever they cost": "All layers together must fit",
        "the same width everywhere": "may have different numbers of bits",
        "the fewest bits": "more bits do less damage",
        "must be below the budget": "Exactly as many bytes",
        "the largest damage": "not the largest",
        "the fullest budget": "The fullest file",
        "the worst layer decides": "you look at the worst layer",
        "an empty dictionary when nothing fits": "the answer is None",
        "a list of widths": "a dictionary tells",
        "all layers offer the same widths": "fits too",
    },
    right={
        "dynamic programming over bytes": """
def choose_bits(options, budget):
    front = {0: (0.0, {})}
    for layer, widths in options.items():
        grown = {}
        for size, (damage, chosen) in front.items():
            for bits, (more, worse) in widths.items():
                total = size + more
                if total <= budget and (total not in grown or damage + worse < grown[total][0]):
                    grown[total] = (damage + worse, {**chosen, layer: bits})
        front = grown
    return min(front.values(), key=lambda one: one[0])[1] if front else None
""",
        "recursion": """
def choose_bits(options, budget):
    def best(layers, left):
        if not layers:
            return 0.0, {}
        found = None
        for bits, (size, damage) in options[layers[0]].items():
            rest = best(layers[1:], left - size) if size <= left else None
            if rest is not None and (found is None or damage + rest[0] < found[0]):
                found = (damage + rest[0], {layers[0]: bits} | rest[1])
        return found
    answer = best(list(options), budget)
    return None if answer is None else answer[1]
""",
        "sorted by damage": """
def choose_bits(options, budget):
    names = list(options)
    every = [dict(zip(names, widths)) for widths in itertools.product(*(options[name] for name in names))]
    every.sort(key=lambda chosen: sum(options[name][chosen[name]][1] for name in names))
    fitting = (chosen for chosen in every if sum(options[n][chosen[n]][0] for n in names) <= budget)
    return next(fitting, None)
""",
    },
)

_LOOP = """
def quantization_aware_training(model, batches, loss_function, bits=8, epochs=3, learning_rate=1e-4):
    trained = copy.deepcopy(model)
    train_mode(trained, norms_frozen=True)
    layers = {name: one for name, one in trained.named_modules() if isinstance(one, (nn.Conv2d, nn.Linear))}
    optimizer = torch.optim.SGD(trained.parameters(), lr=learning_rate)
    qmax = 2 ** (bits - 1) - 1
    def on_grid(weight):
        shape = (-1,) + (1,) * (weight.dim() - 1)
        scale = weight.detach().abs().flatten(1).amax(dim=1).reshape(shape) / qmax
        steps = weight / scale
        return scale * (steps + (steps.round() - steps).detach())
    for _ in range(epochs):
        for inputs, labels in batches:
            rounded = {f"{name}.weight": on_grid(layer.weight) for name, layer in layers.items()}
            loss = loss_function(torch.func.functional_call(trained, rounded, (inputs,)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        for layer in layers.values():
            layer.weight.copy_(on_grid(layer.weight))
    return trained.eval()
"""

TRAINING = Answers(
    name="quantization_aware_training",
    wrong={
        "the model itself is trained": changed(_LOOP, ("copy.deepcopy(model)", "model")),
        "norms follow the batches": changed(_LOOP, ("norms_frozen=True", "norms_frozen=False")),
        "never rounded at the end": changed(_LOOP, ("layer.weight.copy_(on_grid(layer.weight))", "pass")),
        "rounded at the end only": changed(_LOOP, ("on_grid(layer.weight) for name", "layer.weight for name")),
        "precise weights are overwritten in each step": changed(
            _LOOP,
            (
                "            optimizer.step()\n",
                """            optimizer.step()
            with torch.no_grad():
                for layer in layers.values():
                    layer.weight.copy_(on_grid(layer.weight))
""",
            ),
        ),
        "no gradient through the rounding": changed(
            _LOOP, ("(steps + (steps.round() - steps).detach())", "steps.round()")
        ),
        "always four bits": changed(_LOOP, ("qmax = 2 ** (bits - 1) - 1", "qmax = 7")),
        "always two epochs": changed(_LOOP, ("range(epochs)", "range(2)")),
        "always eight bits": changed(_LOOP, ("qmax = 2 ** (bits - 1) - 1", "qmax = 127")),
        "one scale for the whole weight": changed(_LOOP, (".flatten(1).amax(dim=1).reshape(shape)", ".amax()")),
        "a loss of its own": changed(_LOOP, ("loss = loss_function(", "loss = nn.functional.cross_entropy(")),
        "gradients add up": changed(_LOOP, ("            optimizer.zero_grad()\n", "")),
        "one epoch only": changed(_LOOP, ("range(epochs)", "range(1)")),
        "only linear layers": changed(_LOOP, ("(nn.Conv2d, nn.Linear)", "nn.Linear")),
        "left in training mode": changed(_LOOP, ("return trained.eval()", "return trained")),
        "another optimizer": changed(_LOOP, ("torch.optim.SGD", "torch.optim.Adam")),
        "nothing is returned": changed(_LOOP, ("    return trained.eval()\n", "    trained.eval()\n")),
        "with momentum": changed(_LOOP, ("lr=learning_rate)", "lr=learning_rate, momentum=0.9)")),
    },
    advice={
        "the model itself is trained": "copy.deepcopy(model)",
        "norms follow the batches": "norms are frozen",
        "never rounded at the end": "written into the copy",
        "rounded at the end only": "not only at the end",
        "precise weights are overwritten in each step": "small steps get lost",
        "no gradient through the rounding": "pass straight through",
        "always four bits": "`bits` determines the grid",
        "always two epochs": "how often the batches are used",
        "always eight bits": "it is not always 8",
        "one scale for the whole weight": "you use one for the whole weight",
        "a loss of its own": "loss function that is given",
        "gradients add up": "they add up",
        "one epoch only": "not only once",
        "only linear layers": "Convolutions are rounded too",
        "left in training mode": "End with .eval()",
        "another optimizer": "torch.optim.SGD is asked",
        "nothing is returned": "Is there a return statement",
        "with momentum": "without momentum",
    },
    right={
        "weights swapped in and out": """
def quantization_aware_training(model, batches, loss_function, bits=8, epochs=3, learning_rate=1e-4):
    trained = copy.deepcopy(model)
    train_mode(trained, True)
    weights = [one.weight for one in trained.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    optimizer = torch.optim.SGD(trained.parameters(), lr=learning_rate)
    qmax = 2 ** (bits - 1) - 1
    def rounded(weight):
        largest = weight.abs().reshape(len(weight), -1).max(dim=1).values
        scale = (largest / qmax).reshape([-1] + [1] * (weight.dim() - 1))
        return (weight / scale).round() * scale
    for epoch in range(epochs):
        for inputs, labels in batches:
            precise = [weight.data.clone() for weight in weights]
            for weight in weights:
                weight.data = rounded(weight.data)
            trained.zero_grad()
            loss_function(trained(inputs), labels).backward()
            for weight, kept in zip(weights, precise):
                weight.data = kept
            optimizer.step()
    for weight in weights:
        weight.data = rounded(weight.data)
    return trained.eval()
""",
        "updates by hand": """
def quantization_aware_training(model, batches, loss_function, bits=8, epochs=3, learning_rate=1e-4):
    trained = copy.deepcopy(model)
    train_mode(trained, norms_frozen=True)
    qmax = 2 ** (bits - 1) - 1
    names = [f"{name}.weight" for name, one in trained.named_modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    def on_grid(weight):
        scale = weight.detach().abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True) / qmax
        steps = weight / scale
        return (steps + (steps.round() - steps).detach()) * scale
    for _ in range(epochs):
        for inputs, labels in batches:
            parameters = dict(trained.named_parameters())
            used = {name: on_grid(one) if name in names else one for name, one in parameters.items()}
            loss = loss_function(torch.func.functional_call(trained, used, inputs), labels)
            gradients = torch.autograd.grad(loss, list(parameters.values()))
            with torch.no_grad():
                for parameter, gradient in zip(parameters.values(), gradients):
                    parameter -= learning_rate * gradient
    parameters = dict(trained.named_parameters())
    for name in names:
        parameters[name].data = on_grid(parameters[name].data)
    return trained.eval()
""",
    },
)

ANSWERS = {"07.1": STRAIGHT, "07.2": STEP, "07.3": MODES, "07.4": FOLD, "07.5": CHOICE, "07.6": TRAINING}
