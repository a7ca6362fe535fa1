"""Known mistakes of exercise 07: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_THROUGH = "scale * (steps + (steps.round() - steps).detach())"
_ROOT = "math.sqrt(x.numel() * qmax)"
_MOVED = "torch.where(inside, steps.round() - steps, steps.clamp(qmin, qmax))"
_COUNT = "len(norms) if norms_frozen else 0"
_NORMS = "(nn.BatchNorm1d, nn.BatchNorm2d)"
_LARGEST = "    largest = folded.abs().flatten(1).amax(dim=1)\n"
_LEAST = "size <= budget and damage < least"
_STEP = "            optimizer.step()\n"
_GRID = "layer.weight.copy_(on_grid(layer.weight))"

MISTAKES = {
    "07.1": Mistakes(
        "fake_quantize",
        {
            "outside the range the gradient is 0: a value that is clamped does not move": [
                ("(x / scale).clamp(qmin, qmax)", "x / scale"),
                (_THROUGH, "x + (scale * steps.round().clamp(qmin, qmax) - x).detach()"),
            ],
            "the integers end at qmin and qmax: clamp": [(".clamp(qmin, qmax)", "")],
            "round to the nearest integer, not always down": [("steps.round()", "steps.floor()")],
            "halves go to the even neighbour, as in torch.round": [("steps.round()", "(steps + 0.5).floor()")],
            "multiply the integers with the scale at the end": [("scale * (steps", "(steps")],
            "the gradient is 1 inside the range, not the scale": [
                ("(x / scale).clamp(qmin, qmax)", "x.clamp(qmin * scale, qmax * scale)"),
                (_THROUGH, "scale * steps + (scale * (steps / scale).round() - scale * steps).detach()"),
            ],
            "the range begins at qmin, not at -qmax": [("clamp(qmin, qmax)", "clamp(-qmax, qmax)")],
        },
    ),
    "07.2": Mistakes(
        "step_gradient",
        {
            "values outside the range contribute too: qmin below it, qmax above it": [
                ("steps.clamp(qmin, qmax))", "torch.zeros_like(steps))")
            ],
            "values inside the range contribute too: round(v) - v": [("steps.round() - steps,", "0 * steps,")],
            "inside it is round(v) - v, not v - round(v)": [("steps.round() - steps", "steps - steps.round()")],
            "inside it is round(v) - v, not the rounded integer alone": [("steps.round() - steps", "steps.round()")],
            "divide by the root of N · qmax": [(f" / {_ROOT}", "")],
            "the contributions are summed; a mean divides by N once more": [(f".sum() / {_ROOT}", ".mean()")],
            "divide by the root of N · qmax, not by N · qmax": [(_ROOT, "(x.numel() * qmax)")],
            "each contribution is multiplied with its entry of upstream": [("(upstream * moved)", "moved")],
            "below the range a value contributes qmin, above it qmax": [
                ("steps.clamp(qmin, qmax))", "torch.full_like(steps, float(qmax)))")
            ],
        },
    ),
    "07.3": Mistakes(
        "train_mode",
        {
            "call model.train() first: everything but the frozen norms is in training mode": [
                ("model.train()", "model.eval()")
            ],
            "norms inside other modules count too: use modules(), not children()": [
                ("model.modules()", "model.children()")
            ],
            "freezing concerns the statistics, by eval(): requires_grad has nothing to do with it": [
                ("norm.train(not norms_frozen)", "norm.requires_grad_(not norms_frozen)")
            ],
            "model.train() sets the flag of every module: call it before the norms are frozen, not after": [
                ("norm.train(not norms_frozen)", "norm.train()")
            ],
            "called with False, the norms must train again": [
                (
                    "    model.train()\n",
                    "    for one in model.modules():\n        one.training = one.training or not "
                    f"isinstance(one, {_NORMS})\n",
                ),
                ("    for norm in norms:\n", "    for norm in norms if norms_frozen else ():\n"),
            ],
            "return 0 if no norm is frozen": [(_COUNT, "len(norms)")],
            "BatchNorm1d is frozen too": [(_NORMS, "nn.BatchNorm2d")],
            "only BatchNorm keeps statistics: other norms are not counted": [
                (f"isinstance(module, {_NORMS})", "'Norm' in type(module).__name__")
            ],
            "is there a return statement? The number of frozen norms is asked": [(f"return {_COUNT}", "return None")],
        },
    ),
    "07.4": Mistakes(
        "fold_and_quantize",
        {
            "fold first, then round: the range is only known after folding": [
                (_LARGEST, "    largest = weight.abs().flatten(1).amax(dim=1)\n"),
                ("integers = (folded /", "integers = (weight /"),
                ("return integers, scale,", "return integers, scale * gain,"),
            ],
            "each output channel has a scale of its own, not one for all": [
                (_LARGEST, "    largest = folded.abs().max().expand(len(weight))\n")
            ],
            "`eps` is added to the variance, under the root": [
                ("(norm.running_var + norm.eps).sqrt()", "(norm.running_var.sqrt() + norm.eps)")
            ],
            "`eps` is missing under the root": [("(norm.running_var + norm.eps).sqrt()", "norm.running_var.sqrt()")],
            "divide by the root of the variance, not by the variance": [(".sqrt()", "")],
            "the mean is multiplied by the factor too": [("norm.running_mean * gain", "norm.running_mean")],
            "the largest integer is 2**(bits-1) - 1, not 2**(bits-1)": [("(2 ** (bits - 1) - 1)", "2 ** (bits - 1)")],
            "a channel of zeros gets the scale 1: 0 / 0 is not a number": [
                ("torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)", "largest / (2 ** (bits - 1) - 1)")
            ],
            "round before the cast: it cuts off": [(".round()", "")],
            "one scale for each output channel, the first dimension of the weight": [
                (_LARGEST, "    largest = folded.abs().amax(dim=(0, 2, 3))\n"),
                ("scale.view(-1, 1, 1, 1)", "scale.view(1, -1, 1, 1)"),
            ],
        },
    ),
    "07.5": Mistakes(
        "choose_bits",
        {
            "the layers may have different numbers of bits: try all combinations": """
def choose_bits(options, budget):
    for bits in (8, 4, 3, 2):
        if sum(options[layer][min(bits, max(options[layer]))][0] for layer in options) <= budget:
            return {layer: min(bits, max(options[layer])) for layer in options}
    return None
""",
            "the fewest bits fit, but more bits do less damage: try all combinations": [
                ("damage < least", "(best is None or sum(widths) < least)"),
                ("strict=True)), damage", "strict=True)), sum(widths)"),
            ],
            "exactly as many bytes as the budget are fine": [("size <= budget", "size < budget")],
            "the least damage is asked, not the largest": [("math.inf", "-1"), ("damage < least", "damage > least")],
            "the fullest file does not have the least damage": [
                ("damage < least", "(best is None or size > least)"),
                ("strict=True)), damage", "strict=True)), size"),
            ],
            "the damages of all layers are added; you look at the worst layer": [("sum(damage for", "max(damage for")],
            "if nothing fits, the answer is None": [("best, least = None", "best, least = {}")],
        },
    ),
    "07.6": Mistakes(
        "quantization_aware_training",
        {
            "the norms are frozen: their statistics must not follow the batches": [
                ("norms_frozen=True", "norms_frozen=False")
            ],
            "at the end the rounded weights are written into the copy": [(_GRID, "pass")],
            "compute with the rounded weights in every step, not only at the end": [
                ("on_grid(layer.weight) for name", "layer.weight for name")
            ],
            "update the unrounded weights: if they are overwritten by rounded ones, small steps get lost": [
                (
                    _STEP,
                    _STEP + "            with torch.no_grad():\n                for layer in layers.values():\n"
                    f"                    {_GRID}\n",
                )
            ],
            "rounding has no gradient: let it pass straight through": [
                ("(steps + (steps.round() - steps).detach())", "steps.round()")
            ],
            "`bits` determines the grid": [("qmax = 2 ** (bits - 1) - 1", "qmax = 7")],
            "`bits` determines the grid, it is not always 8": [("qmax = 2 ** (bits - 1) - 1", "qmax = 127")],
            "`epochs` says how often the batches are used": [("range(epochs)", "range(2)")],
            "`epochs` says how often the batches are used, not only once": [("range(epochs)", "range(1)")],
            "each output channel has a scale of its own; you use one for the whole weight": [
                (
                    "largest = weight.detach().abs().flatten(1).amax(dim=1)",
                    "largest = weight.detach().abs().max().expand(len(weight))",
                )
            ],
            "use the loss function that is given": [
                ("loss_function(outputs, labels)", "nn.functional.cross_entropy(outputs, labels)")
            ],
            "clear the gradients in each step: they add up": [("            optimizer.zero_grad()\n", "")],
            "convolutions are rounded too, not only linear layers": [("(nn.Conv2d, nn.Linear)", "nn.Linear")],
            "torch.optim.SGD is asked, with `learning_rate` and nothing else": [
                ("torch.optim.SGD", "torch.optim.Adam")
            ],
            "torch.optim.SGD is asked with `learning_rate` and nothing else, so without momentum": [
                ("lr=learning_rate)", "lr=learning_rate, momentum=0.9)")
            ],
        },
    ),
}
