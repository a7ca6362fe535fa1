"""Which layers to leave wide: the fewest further bytes that regain most of the damage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models, storage
from course_lib.advisor.pairing import Pair, swapped
from course_lib.architectures.weighted_layers import is_weighted, output_axis
from course_lib.quantization import fake_quantize, weight_params
from course_lib.report.tables import percent
from course_lib.training.losses import divergence

TRIED = 6  # layers with the largest damage, whose wider forms are measured
NORM_FORM = "as in the original"


@dataclass(frozen=True)
class Proposal:
    """Layers to leave wide.

    Args:
        forms: layer → ``"8 bits"``, ``"16 bits"``, ``"as in the original"`` for norms and embeddings, or its present
            bits, rounded again, with its inputs left wide.
        regained: share of the damage that is gone with them, measured together.
        more_bytes: what they add, as a share of the compressed weights.
    """

    forms: dict[str, str]
    regained: float
    more_bytes: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return vars(self)

    def __str__(self) -> str:
        if not self.forms:
            return "no layer regains enough for these bytes"
        named = ", ".join(f"{layer} ({form})" for layer, form in self.forms.items())
        return f"leave wide: {named}; regains {percent(self.regained, 0)} for {percent(self.more_bytes)} more bytes"


def propose(
    both: Pair, order: Sequence[str], exact: Tensor, inputs: Any, total: float, more_bytes: float, regain: float
) -> Proposal:
    """Widen one layer after another, the one that regains most first, within the bytes.

    Args:
        order: layers of ``both.exact``, the largest damage first.
        exact: log-probabilities of the original.
        inputs: of the compressed model.
        total: divergence of the compressed model, in nats.
    """
    sizes = {name: _stored_bytes(both.compressed, both.names[name]) for name in both.names}
    budget, file_bytes = more_bytes * sum(sizes.values()), sum(sizes.values())
    candidates = {
        (name, form): (layer, cost - sizes[name])
        for name in [one for one in order if one in both.names][:TRIED]
        for form, (layer, cost) in _wider(
            both.exact.get_submodule(name), _bits(both.compressed, both.names[name]), sizes[name]
        ).items()
    }
    chosen: dict[str, tuple[str, nn.Module]] = {}
    spent, left = 0.0, total
    while candidates and total > 0 and left > (1 - regain) * total:
        measured = {
            key: _damage(both, {**{n: it[1] for n, it in chosen.items()}, key[0]: layer}, exact, inputs)
            for key, (layer, cost) in candidates.items()
            if spent + cost <= budget
        }
        best = min(measured, key=lambda key: measured[key], default=None)
        if best is None or measured[best] >= 0.98 * left:
            break
        layer, cost = candidates[best]
        chosen[best[0]], spent, left = (best[1], layer), spent + cost, measured[best]
        candidates = {key: value for key, value in candidates.items() if key[0] != best[0]}
    forms = {name: form for name, (form, _) in chosen.items()}
    return Proposal(forms, 1 - left / total if total > 0 else 0.0, max(spent, 0.0) / max(file_bytes, 1))


def _bits(model: nn.Module, layer: str) -> int | None:
    """Bits in which the weight of a layer is packed; None if it is not."""
    encoded = storage.encodings_of(model).get(f"{layer}.weight")
    return int(encoded.facts["bits"]) if encoded is not None and encoded.encoding == "packed" else None


def _wider(layer: nn.Module, bits: int | None, now: float) -> dict[str, tuple[nn.Module, float]]:
    """Form → the original layer in it, with its bytes; one of them is rounded again to the bits that it has ``now``."""
    values = sum(parameter.numel() for parameter in layer.parameters())
    if not is_weighted(layer):
        return {NORM_FORM: (layer, 2.0 * values)}
    forms = {"8 bits": (_rounded(layer, 8), _packed_bytes(layer, 8, values)), "16 bits": (layer, 2.0 * values)}
    return {f"{bits} bits, rounded again": (_rounded(layer, bits), now), **forms} if bits is not None else forms


def _packed_bytes(layer: nn.Module, bits: int, values: int) -> float:
    """Bytes of a layer with packed weights, a scale of 4 bytes per output channel, and 2 bytes for other values."""
    weight = layer.get_parameter("weight")
    return weight.numel() * bits / 8 + 4 * weight.shape[output_axis(layer)] + 2 * (values - weight.numel())


def _rounded(layer: nn.Module, bits: int) -> nn.Module:
    """The original layer with weights rounded per channel, and its inputs as they are."""
    rounded: Any = copy.deepcopy(layer)
    weight = rounded.weight.detach()
    with torch.no_grad():
        rounded.weight.copy_(fake_quantize(weight, weight_params(weight, bits, axis=output_axis(layer))))
    return rounded


def _stored_bytes(model: nn.Module, layer: str) -> float:
    """Bytes of the tensors of a layer: of their encodings where they have some, else two a value."""
    encodings, total = storage.encodings_of(model), 0.0
    for key, tensor in model.get_submodule(layer).state_dict().items():
        encoded = encodings.get(f"{layer}.{key}")
        total += encoded.bytes if encoded is not None else 2 * tensor.numel()
    return total


def _damage(both: Pair, wide: dict[str, nn.Module], exact: Tensor, inputs: Any) -> float:
    layers = {both.names[name]: layer for name, layer in wide.items()}
    with swapped(both.compressed, layers) as mixed, models.evaluating(mixed):
        return divergence(exact, models.forward(mixed, inputs).float().log_softmax(dim=1)).item()
