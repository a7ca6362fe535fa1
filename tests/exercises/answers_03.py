"""Answers to exercise 03 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers, changed, solution

_MASK = solution("03.1")
MASK = Answers(
    name="magnitude_mask",
    wrong={
        "keeps the small weights": changed(_MASK, ("torch.ones", "torch.zeros"), ("= False", "= True")),
        "no absolute value": changed(_MASK, (".abs()", "")),
        "a threshold drops all that are equal to it": """
def magnitude_mask(weight, sparsity):
    dropped = round(sparsity * weight.numel())
    if dropped == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    return weight.abs() > weight.abs().flatten().sort().values[dropped - 1]
""",
        "a quantile as threshold": """
def magnitude_mask(weight, sparsity):
    if weight.numel() == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    return weight.abs() >= torch.quantile(weight.abs().float(), sparsity)
""",
        "rounds down": changed(_MASK, ("round(", "int(")),
        "equal magnitudes: the higher index goes": """
def magnitude_mask(weight, sparsity):
    size = weight.numel()
    order = weight.abs().flatten().argsort(stable=True, descending=True)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[order[: size - round(sparsity * size)]] = True
    return mask.reshape(weight.shape)
""",
        "row by row": """
def magnitude_mask(weight, sparsity):
    rows = weight.reshape(weight.shape[0], -1) if weight.numel() else weight
    dropped = round(sparsity * rows.shape[-1])
    mask = torch.ones(rows.shape, dtype=torch.bool)
    mask.scatter_(-1, rows.abs().argsort(dim=-1, stable=True)[..., :dropped], False)
    return mask.reshape(weight.shape)
""",
        "numbers instead of booleans": changed(_MASK, (", dtype=torch.bool", "")),
        "changes its input": changed(_MASK, ("weight.abs()", "weight.detach().abs_()")),
        "view fails on a transposed weight": changed(_MASK, ("weight.abs().flatten()", "weight.view(-1).abs()")),
        "fails on an empty weight": """
def magnitude_mask(weight, sparsity):
    magnitudes = weight.abs().flatten()
    magnitudes = magnitudes / magnitudes.max()
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[magnitudes.argsort(stable=True)[: round(sparsity * weight.numel())]] = False
    return mask.reshape(weight.shape)
""",
        "returns the pruned weight": """
def magnitude_mask(weight, sparsity):
    pruned = weight.clone().flatten()
    pruned[weight.abs().flatten().argsort(stable=True)[: round(sparsity * weight.numel())]] = 0
    return pruned.reshape(weight.shape)
""",
        "nothing is returned": changed(_MASK, ("    return mask.reshape(weight.shape)\n", "")),
        "in single precision": changed(_MASK, ("weight.abs()", "weight.float().abs()")),
        "the course's own function": "from course_lib import pruning\n"
        "def magnitude_mask(weight, sparsity):\n    return pruning.magnitude_mask(weight, sparsity)\n",
        "the library's function": """
from torch.nn.utils import prune
def magnitude_mask(weight, sparsity):
    if weight.numel() == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    layer = nn.Module()
    layer.weight = nn.Parameter(weight.detach().clone())
    prune.l1_unstructured(layer, "weight", amount=round(sparsity * weight.numel()))
    return layer.weight_mask.bool()
""",
    },
    advice={
        "keeps the small weights": "keep the weights below the threshold",
        "no absolute value": "did you take abs()",
        "a threshold drops all that are equal to it": "a threshold alone drops too many",
        "a quantile as threshold": "a threshold alone drops too many",
        "rounds down": "is Python's round",
        "equal magnitudes: the higher index goes": "lower index in row order",
        "row by row": "not row by row",
        "numbers instead of booleans": "Booleans, True and False, not numbers",
        "changes its input": "changed its input",
        "view fails on a transposed weight": "Use .reshape(...) instead",
        "fails on an empty weight": "A weight can be empty",
        "returns the pruned weight": "not the pruned weight",
        "nothing is returned": "Is there a return statement",
        "in single precision": "in the precision of the weight",
        "the course's own function": "uses `course_lib.pruning",
        "the library's function": "uses `torch.nn.utils.prune",
    },
    right={
        "sorted in plain Python": """
def magnitude_mask(weight, sparsity):
    values = [abs(value) for value in weight.flatten().tolist()]
    gone = set(sorted(range(len(values)), key=values.__getitem__)[: round(sparsity * len(values))])
    return torch.tensor([index not in gone for index in range(len(values))], dtype=torch.bool).reshape(weight.shape)
""",
        "ranks": """
def magnitude_mask(weight, sparsity):
    order = torch.argsort(weight.detach().abs().reshape(-1), stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return (ranks >= round(sparsity * len(order))).reshape(weight.shape)
""",
        "a threshold, and as many of the equal ones as are still missing": """
def magnitude_mask(weight, sparsity):
    row, dropped = weight.detach().abs().flatten(), round(sparsity * weight.numel())
    if dropped == 0:
        return torch.ones(weight.shape, dtype=torch.bool)
    threshold = row.sort().values[dropped - 1]
    equal = row == threshold
    missing = dropped - (row < threshold).sum()
    return ((row > threshold) | (equal & (equal.cumsum(0) > missing))).reshape(weight.shape)
""",
        "NumPy": """
import numpy
def magnitude_mask(weight, sparsity):
    row = weight.detach().double().abs().numpy().ravel()
    mask = numpy.ones(row.size, dtype=bool)
    mask[numpy.argsort(row, kind="stable")[: round(sparsity * row.size)]] = False
    return torch.from_numpy(mask).reshape(weight.shape)
""",
    },
)

_GLOBAL = solution("03.2")
GLOBAL = Answers(
    name="global_masks",
    wrong={
        "layer by layer": """
def global_masks(weights, sparsity):
    return {name: magnitude_mask(weight, sparsity) for name, weight in weights.items()}
""",
        "every layer scaled to its largest weight": """
def global_masks(weights, sparsity):
    rows = [weight.flatten() for weight in weights.values()]
    scaled = [row / row.abs().max() if len(row) else row for row in rows]
    pieces = magnitude_mask(torch.cat(scaled), sparsity).split([len(row) for row in scaled])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(weights, pieces)}
""",
        "no absolute value": """
def global_masks(weights, sparsity):
    row = torch.cat([weight.flatten() for weight in weights.values()])
    mask = torch.ones(len(row), dtype=torch.bool)
    mask[row.argsort(stable=True)[: round(sparsity * len(row))]] = False
    pieces = mask.split([weight.numel() for weight in weights.values()])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(weights, pieces)}
""",
        "a threshold that equal weights cross together": """
def global_masks(weights, sparsity):
    row = torch.cat([weight.flatten() for weight in weights.values()]).abs()
    dropped = round(sparsity * len(row))
    threshold = row.sort().values[dropped - 1] if dropped else -1
    return {name: weight.abs() > threshold for name, weight in weights.items()}
""",
        "keeps the small weights": changed(
            _GLOBAL, ("magnitude_mask(row", "(~magnitude_mask(row"), ("sparsity).split", "sparsity)).split")
        ),
        "layers in alphabetical order": """
def global_masks(weights, sparsity):
    names = sorted(weights, reverse=True)
    row = torch.cat([weights[name].flatten() for name in names])
    pieces = magnitude_mask(row, sparsity).split([weights[name].numel() for name in names])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(names, pieces)}
""",
        "masks stay flat": changed(_GLOBAL, ("piece.reshape(weights[name].shape)", "piece")),
        "a list": """
def global_masks(weights, sparsity):
    row = torch.cat([weight.flatten() for weight in weights.values()])
    pieces = magnitude_mask(row, sparsity).split([weight.numel() for weight in weights.values()])
    return [piece.reshape(weight.shape) for weight, piece in zip(weights.values(), pieces)]
""",
        "rounds once per layer": """
def global_masks(weights, sparsity):
    row = torch.cat([weight.flatten() for weight in weights.values()])
    total = sum(int(sparsity * weight.numel()) for weight in weights.values())
    mask = torch.ones(len(row), dtype=torch.bool)
    mask[row.abs().argsort(stable=True)[:total]] = False
    pieces = mask.split([weight.numel() for weight in weights.values()])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(weights, pieces)}
""",
        "layers sorted by name": """
def global_masks(weights, sparsity):
    names = sorted(weights)
    row = torch.cat([weights[name].flatten() for name in names])
    pieces = magnitude_mask(row, sparsity).split([weights[name].numel() for name in names])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(names, pieces)}
""",
        "layers sorted by size": """
def global_masks(weights, sparsity):
    names = sorted(weights, key=lambda name: weights[name].numel())
    row = torch.cat([weights[name].flatten() for name in names])
    pieces = magnitude_mask(row, sparsity).split([weights[name].numel() for name in names])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(names, pieces)}
""",
    },
    advice={
        "layer by layer": "layer-wise pruning",
        "every layer scaled to its largest weight": "do not scale the layers",
        "no absolute value": "take the absolute value first",
        "a threshold that equal weights cross together": "also among equal magnitudes",
        "keeps the small weights": "True means keep",
        "layers in alphabetical order": "not by name backwards",
        "masks stay flat": "should have shape",
        "a list": "return a dictionary",
        "rounds once per layer": "Round once for the whole model",
        "layers sorted by name": "neither by name",
        "layers sorted by size": "nor by size",
    },
    right={
        "sorted triples": """
def global_masks(weights, sparsity):
    entries = [
        (abs(value), place, index, name)
        for place, (name, weight) in enumerate(weights.items())
        for index, value in enumerate(weight.flatten().tolist())
    ]
    masks = {name: torch.ones(weight.numel(), dtype=torch.bool) for name, weight in weights.items()}
    for _, _, index, name in sorted(entries)[: round(sparsity * len(entries))]:
        masks[name][index] = False
    return {name: mask.reshape(weights[name].shape) for name, mask in masks.items()}
""",
        "one ranking, cut by hand": """
def global_masks(weights, sparsity):
    row = torch.cat([weight.abs().reshape(-1) for weight in weights.values()])
    order = torch.argsort(row, stable=True)
    keep = torch.ones(row.numel(), dtype=torch.bool)
    keep[order[: round(sparsity * row.numel())]] = False
    masks, start = {}, 0
    for name, weight in weights.items():
        masks[name] = keep[start : start + weight.numel()].reshape(weight.shape)
        start += weight.numel()
    return masks
""",
    },
)

_SCHEDULE = solution("03.3")
SCHEDULE = Answers(
    name="cubic_sparsity",
    wrong={
        "a straight line": changed(_SCHEDULE, ("remaining**3", "remaining")),
        "the cube of the part that is done": """
def cubic_sparsity(step, total_steps, initial, final):
    part = min(max(step / total_steps, 0), 1)
    return initial + (final - initial) * part**3
""",
        "a square": changed(_SCHEDULE, ("**3", "**2")),
        "not held at the ends": changed(_SCHEDULE, ("min(max(step / total_steps, 0), 1)", "step / total_steps")),
        "held at the end only": changed(_SCHEDULE, ("max(step / total_steps, 0)", "step / total_steps")),
        "starts at zero": changed(_SCHEDULE, ("(initial - final)", "-final")),
        "ends swapped": changed(_SCHEDULE, ("final + (initial - final)", "initial + (final - initial)")),
        "whole-number division": changed(_SCHEDULE, ("step / total", "step // total")),
        "one step too early": changed(_SCHEDULE, ("step / total", "(step + 1) / total")),
    },
    advice={
        "a straight line": "That is linear",
        "the cube of the part that is done": "cube is taken of the remaining part",
        "a square": "looks like a square",
        "not held at the ends": "after the last step `final`",
        "held at the end only": "Before step 0 the sparsity is `initial`",
        "starts at zero": "where is `initial` used",
        "ends swapped": "Start and end are swapped",
        "whole-number division": "`//` rounds down",
        "one step too early": "the next step",
    },
    right={
        "the three cases": """
def cubic_sparsity(step, total_steps, initial, final):
    if step <= 0:
        return initial
    if step >= total_steps:
        return final
    return initial + (final - initial) * (1 - ((total_steps - step) / total_steps) ** 3)
""",
        "with torch": """
def cubic_sparsity(step, total_steps, initial, final):
    part = torch.clamp(torch.tensor(step / total_steps, dtype=torch.float64), 0, 1)
    return float(torch.lerp(torch.tensor(final).double(), torch.tensor(initial).double(), (1 - part) ** 3))
""",
        "expanded": """
def cubic_sparsity(step, total_steps, initial, final):
    t = min(max(step, 0), total_steps) / total_steps
    return initial + (final - initial) * (3 * t - 3 * t * t + t * t * t)
""",
    },
)

_STORAGE = solution("03.4")
STORAGE = Answers(
    name="storage_facts",
    wrong={
        "mask bytes rounded down": changed(_STORAGE, ("math.ceil(weight.numel() / 8)", "weight.numel() // 8")),
        "always four bytes": changed(_STORAGE, ("weight.element_size()", "4")),
        "pays for the zeros": changed(_STORAGE, ("torch.count_nonzero(weight)", "(weight == 0).sum()")),
        "forgets the mask": changed(_STORAGE, ("mask_bytes + int", "int")),
        "equal counts as smaller": changed(
            _STORAGE,
            ("mask_bytes // value_bytes + 1", "math.ceil(mask_bytes / value_bytes)"),
            (" if break_even <= weight.numel() else None", ""),
        ),
        "never None": changed(_STORAGE, (" if break_even <= weight.numel() else None", "")),
        "break-even as a share": """
def storage_facts(weight):
    value, mask = weight.element_size(), math.ceil(weight.numel() / 8)
    return {
        "dense": weight.numel() * value,
        "bitmask": mask + int((weight != 0).sum()) * value,
        "break_even": 1 / (8 * value),
    }
""",
        "only positive values count": """
def storage_facts(weight):
    value, mask = weight.element_size(), math.ceil(weight.numel() / 8)
    least = mask // value + 1
    return {
        "dense": weight.numel() * value,
        "bitmask": mask + int((weight > 0).sum()) * value,
        "break_even": least if least <= weight.numel() else None,
    }
""",
        "one byte per entry of the mask": """
def storage_facts(weight):
    value, mask = weight.element_size(), weight.numel()
    least = mask // value + 1
    return {
        "dense": weight.numel() * value,
        "bitmask": mask + int((weight != 0).sum()) * value,
        "break_even": least if least <= weight.numel() else None,
    }
""",
    },
    advice={
        "mask bytes rounded down": "up to whole bytes",
        "always four bytes": "depend on the dtype",
        "pays for the zeros": "are those that are not zero",
        "forgets the mask": "mask have to be stored too",
        "equal counts as smaller": "not equally large",
        "never None": "the answer is None",
        "break-even as a share": "not a fraction",
        "only positive values count": "Negative values are stored too",
        "one byte per entry of the mask": "not one byte",
    },
    right={
        "tries every number of zeros": """
def storage_facts(weight):
    size, value = weight.numel(), weight.element_size()
    dense, mask = size * value, (size + 7) // 8
    helps = (zeros for zeros in range(size + 1) if mask + (size - zeros) * value < dense)
    kept = sum(1 for entry in weight.flatten().tolist() if entry != 0)
    return {"dense": dense, "bitmask": mask + kept * value, "break_even": next(helps, None)}
""",
        "from the real bytes": """
import numpy
def storage_facts(weight):
    row = weight.numpy().ravel()
    mask = numpy.packbits(row != 0).nbytes
    least = mask // row.itemsize + 1
    return {
        "dense": row.nbytes,
        "bitmask": mask + row[row != 0].nbytes,
        "break_even": None if least > row.size else least,
    }
""",
    },
)

_REPAIRED = """
class StructuredPruner:
    def __init__(self, model, sparsity=0.9):
        self.model, self.sparsity = model, sparsity

    def layers(self, model):
        return [one for one in model.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]

    def cut(self, model, sparsity):
        layers = self.layers(model)
        row = torch.cat([layer.weight.detach().flatten() for layer in layers])
        keep = torch.ones(len(row), dtype=torch.bool)
        keep[row.abs().argsort(stable=True)[: round(sparsity * len(row))]] = False
        pieces = keep.split([layer.weight.numel() for layer in layers])
        return [(layer, piece.view_as(layer.weight)) for layer, piece in zip(layers, pieces)]

    @torch.no_grad()
    def zero(self, pairs):
        for layer, mask in pairs:
            layer.weight.mul_(mask)

    @torch.no_grad()
    def magnitude_based_pruning(self):
        pruned = copy.deepcopy(self.model)
        for layer in self.layers(pruned):
            row = layer.weight.flatten()
            row[row.abs().argsort(stable=True)[: round(self.sparsity * len(row))]] = 0
            layer.weight.copy_(row.view_as(layer.weight))
        return pruned

    def apply_global_pruning(self, sparsity):
        pruned = copy.deepcopy(self.model)
        self.zero(self.cut(pruned, sparsity))
        return pruned

    def gradual_pruning(self, train_epoch, initial_sparsity=0.1, final_sparsity=0.9, steps=10):
        pruned = copy.deepcopy(self.model)
        for k in range(steps):
            remaining = 1 - k / (steps - 1) if steps > 1 else 0
            sparsity = final_sparsity + (initial_sparsity - final_sparsity) * remaining**3
            pairs = self.cut(pruned, sparsity)
            self.zero(pairs)
            train_epoch(pruned)
            self.zero(pairs)
        return pruned
"""

_SNIPPET = """
from torch.nn.utils import prune
class StructuredPruner:
    def __init__(self, model, sparsity=0.9):
        self.model, self.sparsity = model, sparsity

    def layers(self):
        return [one for one in self.model.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]

    def magnitude_based_pruning(self):
        for layer in self.layers():
            prune.l1_unstructured(layer, "weight", amount=self.sparsity)

    def apply_global_pruning(self, sparsity):
        targets = [(layer, "weight") for layer in self.layers()]
        prune.global_unstructured(targets, prune.L1Unstructured, amount=sparsity)

    def gradual_pruning(self, train_epoch, initial_sparsity=0.1, final_sparsity=0.9, steps=10):
        for sparsity in torch.linspace(initial_sparsity, final_sparsity, steps):
            self.apply_global_pruning(sparsity)
            self.train_epoch()
"""

PRUNER = Answers(
    name="StructuredPruner",
    wrong={
        "the published snippet": _SNIPPET,
        "the snippet, with its model returned": changed(
            _SNIPPET, ("amount=self.sparsity)\n", "amount=self.sparsity)\n        return self.model\n")
        ),
        "the snippet on a copy, masks left behind": """
from torch.nn.utils import prune
class StructuredPruner:
    def __init__(self, model, sparsity=0.9):
        self.model, self.sparsity = model, sparsity

    def magnitude_based_pruning(self):
        pruned = copy.deepcopy(self.model)
        for layer in pruned.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                prune.l1_unstructured(layer, "weight", amount=self.sparsity)
        return pruned
""",
        "the model that was handed in is changed": changed(_REPAIRED, ("copy.deepcopy(self.model)", "self.model")),
        "a shallow copy": changed(_REPAIRED, ("copy.deepcopy(self.model)", "copy.copy(self.model)")),
        "strategies stack": changed(
            _REPAIRED,
            (
                "self.model, self.sparsity = model, sparsity",
                "self.model, self.sparsity = copy.deepcopy(model), sparsity",
            ),
            ("pruned = copy.deepcopy(self.model)", "pruned = self.model"),
            ("return pruned", "return copy.deepcopy(pruned)"),
        ),
        "the sparsity of the constructor everywhere": changed(
            _REPAIRED,
            ("self.cut(pruned, sparsity))\n        return", "self.cut(pruned, self.sparsity))\n        return"),
        ),
        "linear layers only": changed(_REPAIRED, ("(nn.Conv2d, nn.Linear)", "nn.Linear")),
        "only layers at the top": changed(_REPAIRED, ("model.modules()", "model.children()")),
        "norms are pruned too": changed(
            _REPAIRED, ("(nn.Conv2d, nn.Linear)", "(nn.Conv2d, nn.Linear, nn.BatchNorm2d)")
        ),
        "a linear schedule": changed(_REPAIRED, ("remaining**3", "remaining")),
        "the last round stops short": changed(_REPAIRED, ("1 - k / (steps - 1) if steps > 1 else 0", "1 - k / steps")),
        "one round divides by zero": changed(
            _REPAIRED, ("1 - k / (steps - 1) if steps > 1 else 0", "1 - k / (steps - 1)")
        ),
        "masks do not hold while training": changed(
            _REPAIRED,
            ("            train_epoch(pruned)\n            self.zero(pairs)\n", "            train_epoch(pruned)\n"),
        ),
        "pruned after training only": changed(
            _REPAIRED,
            ("            self.zero(pairs)\n            train_epoch(pruned)", "            train_epoch(pruned)"),
        ),
        "a share of what is left": changed(
            _REPAIRED,
            (
                "sparsity = final_sparsity +",
                "left = 1 if k == 0 else 1 - sparsity\n            sparsity = final_sparsity +",
            ),
            ("pairs = self.cut(pruned, sparsity)", "pairs = self.cut(pruned, 1 - left * (1 - sparsity))"),
        ),
        "never trains": changed(_REPAIRED, ("            train_epoch(pruned)\n", "")),
        "trains the model that was handed in": changed(_REPAIRED, ("train_epoch(pruned)", "train_epoch(self.model)")),
        "layer-wise where it should be global": changed(
            _REPAIRED,
            (
                "        self.zero(self.cut(pruned, sparsity))\n        return pruned",
                "        self.sparsity = sparsity\n        return self.magnitude_based_pruning()",
            ),
        ),
        "weights become plain tensors": changed(
            _REPAIRED,
            (
                "            layer.weight.copy_(row.view_as(layer.weight))",
                "            row = row.view_as(layer.weight)\n"
                "            del layer.weight\n            layer.register_buffer('weight', row)",
            ),
        ),
        "gradual pruning returns nothing": changed(
            _REPAIRED, ("            self.zero(pairs)\n        return pruned", "            self.zero(pairs)")
        ),
        "ranked again after training": changed(
            _REPAIRED,
            (
                "            train_epoch(pruned)\n            self.zero(pairs)",
                "            train_epoch(pruned)\n            self.zero(self.cut(pruned, sparsity))",
            ),
        ),
        "everything with a weight": changed(
            _REPAIRED, ("isinstance(one, (nn.Conv2d, nn.Linear))", "getattr(one, 'weight', None) is not None")
        ),
        "the library's function on a copy": changed(
            _REPAIRED,
            (
                "            row = layer.weight.flatten()\n"
                "            row[row.abs().argsort(stable=True)[: round(self.sparsity * len(row))]] = 0\n"
                "            layer.weight.copy_(row.view_as(layer.weight))\n",
                "            torch.nn.utils.prune.l1_unstructured(layer, 'weight', amount=self.sparsity)\n"
                "            torch.nn.utils.prune.remove(layer, 'weight')\n",
            ),
        ),
    },
    advice={
        "the published snippet": "uses `torch.nn.utils.prune",
        "the snippet, with its model returned": "uses `torch.nn.utils.prune",
        "the snippet on a copy, masks left behind": "uses `torch.nn.utils.prune",
        "the model that was handed in is changed": "the original is still needed",
        "a shallow copy": "copy.deepcopy(self.model)",
        "strategies stack": "calls do not add up",
        "the sparsity of the constructor everywhere": "not the one of the constructor",
        "linear layers only": "Convolutions are pruned too",
        "only layers at the top": "use modules(), not children()",
        "norms are pruned too": "not everything that has a weight",
        "a linear schedule": "this one is linear",
        "the last round stops short": "already has the final sparsity",
        "one round divides by zero": "steps - 1 is 0",
        "masks do not hold while training": "again after train_epoch",
        "pruned after training only": "before train_epoch, too",
        "a share of what is left": "not of those that are left",
        "never trains": "calls train_epoch(model) once",
        "trains the model that was handed in": "original model was changed",
        "layer-wise where it should be global": "share one ranking here",
        "weights become plain tensors": "should stay nn.Parameters",
        "gradual pruning returns nothing": "is there a return statement",
        "ranked again after training": "Zero the same weights again",
        "everything with a weight": "not everything that has a weight",
        "the library's function on a copy": "uses `torch.nn.utils.prune",
    },
    right={
        "one class without the earlier answers": _REPAIRED,
        "a copy at the start, methods made of functions": """
def _zero(model, masks):
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_submodule(name).weight *= mask

def _weights(model):
    kinds = (nn.Conv2d, nn.Linear)
    return {name: one.weight.detach() for name, one in model.named_modules() if isinstance(one, kinds)}

class StructuredPruner:
    def __init__(self, model, sparsity=0.9):
        self.original, self.sparsity = copy.deepcopy(model), sparsity

    def magnitude_based_pruning(self):
        return self._pruned({name: magnitude_mask(one, self.sparsity) for name, one in _weights(self.original).items()})

    def apply_global_pruning(self, sparsity):
        return self._pruned(global_masks(_weights(self.original), sparsity))

    def _pruned(self, masks):
        pruned = copy.deepcopy(self.original)
        _zero(pruned, masks)
        return pruned

    def gradual_pruning(self, train_epoch, initial_sparsity=0.1, final_sparsity=0.9, steps=10):
        pruned = copy.deepcopy(self.original)
        for step in range(1, steps + 1):
            sparsity = cubic_sparsity(step - 1, max(steps - 1, 1), initial_sparsity, final_sparsity)
            masks = global_masks(_weights(pruned), final_sparsity if step == steps else sparsity)
            _zero(pruned, masks)
            train_epoch(pruned)
            _zero(pruned, masks)
        return pruned
""",
    },
)

BUDGET = Answers(
    name="layer_sparsities",
    wrong={
        "the same share everywhere": "def layer_sparsities():\n    return 0.85, 0.85, 0.85\n",
        "too few zeros": "def layer_sparsities():\n    return 0.8, 0.8, 0.0\n",
        "last layer first": "def layer_sparsities():\n    return 0.2, 0.85, 0.86\n",
        "per cent": "def layer_sparsities():\n    return 86, 85, 20\n",
        "too much from the first layer": "def layer_sparsities():\n    return 0.96, 0.2, 0.0\n",
        "a whole layer gone": "def layer_sparsities():\n    return 0.9, 1.0, 0.0\n",
        "two numbers": "def layer_sparsities():\n    return 0.86, 0.85\n",
        "a dictionary": "def layer_sparsities():\n    return {'first': 0.86, 'second': 0.85, 'third': 0.2}\n",
        "negative": "def layer_sparsities():\n    return 0.97, 0.9, -0.5\n",
    },
    advice={
        "the same share everywhere": "Which small layer has a high sparsity",
        "too few zeros": "must hold most of the zeros",
        "last layer first": "must hold most of the zeros",
        "per cent": "0.85, not 85",
        "too much from the first layer": "The first layer has lost too much",
        "a whole layer gone": "1 would remove it",
        "two numbers": "return three values",
        "a dictionary": "return three values",
        "negative": "there is nothing below",
    },
    right={
        "the last layer whole": "def layer_sparsities():\n    return 0.86, 0.82, 0.0\n",
        "computed from the sizes": """
def layer_sparsities():
    first, second, third = layer_sizes()
    second_share = 0.9
    return [(0.853 * (first + second + third) - second_share * second) / first, second_share, 0.0]
""",
    },
)

ANSWERS = {"03.1": MASK, "03.2": GLOBAL, "03.3": SCHEDULE, "03.4": STORAGE, "03.5": PRUNER, "03.6": BUDGET}
