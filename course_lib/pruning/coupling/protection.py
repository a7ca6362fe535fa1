"""Layers whose weights must not change when channels are removed, with the reason."""

from __future__ import annotations

from torch import nn

from course_lib.architectures.input_quantizers import GRID
from course_lib.architectures.tracing import changes_values
from course_lib.architectures.weighted_layers import recomputed_parameter


def protected_layers(model: nn.Module) -> dict[str, str]:
    """Name → why the layer must stay as it is: recomputed weights, forward hooks, parameters of other layers."""
    reasons: dict[str, str] = {}
    owners: dict[int, str] = {}
    for name, module in model.named_modules():
        if found := recomputed_parameter(module):
            kind, parameter, remedy = found
            advice = remedy.format(layer=name, parameter=parameter)
            reasons[name] = f"the layer {name!r} recomputes its {parameter} ({kind}); first {advice}"
        elif hasattr(module, GRID):
            reasons[name] = f"the layer {name!r} is quantized; remove channels first and quantize then"
        elif "forward" in vars(module):
            reasons[name] = f"the layer {name!r} has a forward function of its own, which may need its sizes"
        elif changes_values(module):
            reasons[name] = f"the layer {name!r} has forward hooks, which may need its sizes; remove them first"
        for label, parameter in module.named_parameters(recurse=False):
            owner = owners.setdefault(id(parameter), f"{name}.{label}")
            if owner != f"{name}.{label}":
                reason = f"{name}.{label} is shared with {owner}"
                reasons |= {name: reason, owner.rpartition(".")[0]: reason}
    return reasons
