"""Known mistakes of exercise 03: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_ROWS = """
def magnitude_mask(weight, sparsity):
    rows = weight.reshape(weight.shape[0], -1) if weight.numel() else weight
    dropped = round(sparsity * rows.shape[-1])
    mask = torch.ones(rows.shape, dtype=torch.bool)
    mask.scatter_(-1, rows.abs().argsort(dim=-1, stable=True)[..., :dropped], False)
    return mask.reshape(weight.shape)
"""
_GLOBAL = """
def global_masks(weights, sparsity):
    names = {NAMES}
    row = torch.cat([weights[name].flatten(){SCALED} for name in names])
    pieces = magnitude_mask(row, sparsity).split([weights[name].numel() for name in names])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(names, pieces)}
"""


def _global(names: str = "list(weights)", scaled: str = "") -> str:
    return _GLOBAL.replace("{NAMES}", names).replace("{SCALED}", scaled)


_SIGNED = """
def global_masks(weights, sparsity):
    row = torch.cat([weight.flatten() for weight in weights.values()])
    mask = torch.ones(len(row), dtype=torch.bool)
    mask[row.argsort(stable=True)[: round(sparsity * len(row))]] = False
    pieces = mask.split([weight.numel() for weight in weights.values()])
    return {name: piece.reshape(weights[name].shape) for name, piece in zip(weights, pieces)}
"""
_SCHEDULED = "cubic_sparsity(k, steps - 1, initial_sparsity, final_sparsity)"
_SPARSITY = f"final_sparsity if last else {_SCHEDULED}"
_AGAIN = "            train_epoch(pruned)\n"

MISTAKES = {
    "03.1": Mistakes(
        "magnitude_mask",
        {
            "rank all weights of the tensor together, not row by row": _ROWS,
            "a weight can be empty, and then there is no largest magnitude": [
                (".abs().flatten()", ".abs().flatten().div(weight.abs().max())")
            ],
            "rank in the precision of the weight: in a narrower one, different magnitudes become equal": [
                ("weight.abs()", "weight.float().abs()")
            ],
        },
    ),
    "03.2": Mistakes(
        "global_masks",
        {
            "take the layers in the order of the dictionary, neither by name nor by size": _global("sorted(weights)"),
            "take the layers in the order of the dictionary, not by name backwards": _global(
                "sorted(weights, reverse=True)"
            ),
            "rank the magnitudes as they are: do not scale the layers": _global(
                scaled=" / max(weights[name].abs().max() if weights[name].numel() else 1, 1e-9)"
            ),
            "rank magnitudes: take the absolute value first": _SIGNED,
            "True means keep": [("piece.reshape", "(~piece).reshape")],
        },
    ),
    "03.3": Mistakes(
        "cubic_sparsity",
        {
            "`//` rounds down to whole numbers: divide with `/`": [("step / total_steps", "step // total_steps")],
            "that is the sparsity of the next step": [("step / total_steps", "(step + 1) / total_steps")],
        },
    ),
    "03.4": Mistakes(
        "storage_facts",
        {
            "round the bits of the mask up to whole bytes": [("math.ceil(weight.numel() / 8)", "weight.numel() // 8")],
            "the bytes of a value depend on the dtype: weight.element_size()": [("weight.element_size()", "4")],
            "the values that are stored are those that are not zero": [
                ("torch.count_nonzero(weight)", "(weight == 0).sum()")
            ],
            "the bits of the mask have to be stored too": [("mask_bytes + int", "int")],
            "negative values are stored too: all that are not zero": [
                ("torch.count_nonzero(weight)", "(weight > 0).sum()")
            ],
            "the mask takes one bit for each entry, not one byte": [
                ("math.ceil(weight.numel() / 8)", "weight.numel()")
            ],
            "smaller, not equally large: at this number of zeros both take the same space": [
                ("mask_bytes // value_bytes + 1", "math.ceil(mask_bytes / value_bytes)")
            ],
            "if even a tensor of zeros is not smaller, the answer is None": [
                (" if break_even <= weight.numel() else None", "")
            ],
            "a whole number of zeros is asked, not a fraction": [
                ("mask_bytes // value_bytes + 1", "1 / (8 * value_bytes)"),
            ],
        },
    ),
    "03.5": Mistakes(
        "StructuredPruner",
        {
            "the schedule is cubic, and this one is linear": [
                (_SCHEDULED, "initial_sparsity + (final_sparsity - initial_sparsity) * k / max(steps - 1, 1)")
            ],
            "the last round, k = steps - 1, already has the final sparsity": [
                (_SPARSITY, "cubic_sparsity(k, steps, initial_sparsity, final_sparsity)")
            ],
            "with a single round steps - 1 is 0: that round uses the final sparsity": [(_SPARSITY, _SCHEDULED)],
            "zero the weights before train_epoch, too": [
                ("            self._zero(pruned, masks)\n            train_epoch", "            train_epoch")
            ],
            "the sparsity is a fraction of all weights, not of those that are left": [
                (
                    _SPARSITY + "\n",
                    _SPARSITY + "\n            sparsity = sparsity if k == 0 else 1 - (1 - left) * (1 - "
                    "sparsity)\n            left = final_sparsity if last else " + _SCHEDULED + "\n",
                )
            ],
            "zero the same weights again: training has changed which ones are smallest": [
                (_AGAIN, _AGAIN + "            masks = global_masks(self._weights(pruned), sparsity)\n")
            ],
            "the layers share one ranking here, as in 03.2": [
                (
                    "        self._zero(pruned, global_masks(self._weights(pruned), sparsity))\n",
                    "        for weight in self._weights(pruned).values():\n"
                    "            weight[~magnitude_mask(weight, sparsity)] = 0\n",
                )
            ],
            "the sparsity is the argument of this call, not the one of the constructor": [
                (
                    "(self._weights(pruned), sparsity))\n        return",
                    "(self._weights(pruned), self.sparsity))\n        return",
                )
            ],
            "convolutions are pruned too, not only linear layers": [("(nn.Conv2d, nn.Linear)", "nn.Linear")],
            "layers inside other modules count too: use modules(), not children()": [
                ("model.named_modules()", "model.named_children()")
            ],
            "only Conv2d and Linear layers are pruned, not everything that has a weight": [
                ("isinstance(layer, (nn.Conv2d, nn.Linear))", "hasattr(layer, 'weight')")
            ],
        },
    ),
}
