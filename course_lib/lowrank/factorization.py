"""Factorization of a model: which layers, with which ranks, and a copy in which they are replaced by factors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from course_lib import models, training
from course_lib.architectures import input_quantizers
from course_lib.architectures.factorized import KINDS, Factored, Plan
from course_lib.architectures.layer_sizes import sizes
from course_lib.architectures.registry import extend_argument
from course_lib.architectures.tracing import changes_values
from course_lib.architectures.weighted_layers import (
    check_has_values,
    copy_model,
    is_linear,
    is_transposed,
    recomputed_parameter,
    uncalled_layers,
)
from course_lib.lowrank.decompositions import as_matrix, factor_layer, singular_values
from course_lib.lowrank.ranks import break_even_rank, factored_parameters, parameters, rank_for_energy, ranks_for_size

if TYPE_CHECKING:
    import pandas

Ranks = tuple[Any, ...]
FACTORABLE = (nn.Linear, nn.Conv2d, nn.Embedding)


@dataclass(frozen=True)
class LowRankResult:
    """A copy of a model with some layers factorized.

    Args:
        model: plain layers; its description carries the ranks, so that ``storage`` can save and load it.
        plan: layer name → kind and ranks.
        before: layer name → parameters that it had.
        history: of the fine-tuning; empty if there was none.
    """

    model: nn.Module
    plan: dict[str, Ranks]
    before: dict[str, int] = field(repr=False)
    history: training.History = field(default_factory=training.History)

    @property
    def report(self) -> pandas.DataFrame:
        """One row per factored layer: kind, ranks, parameters before and after, and how many times smaller."""
        import pandas

        rows = [
            (name, kind, "×".join(map(str, ranks)), self.before[name], parameters(self.model.get_submodule(name)))
            for name, (kind, *ranks) in self.plan.items()
        ]
        table = pandas.DataFrame(rows, columns=["layer", "kind", "ranks", "before", "after"])
        return table.assign(smaller=table["before"] / table["after"])


def factorize(model: nn.Module, plan: Plan, moments: Mapping[str, Tensor] | None = None) -> LowRankResult:
    """A copy of ``model`` in which the layers of ``plan`` are replaced by factors that approximate them.

    Args:
        plan: layer name → kind and ranks, for example ``("svd", 64)`` or ``("tucker", 32, 48)``.
        moments: layer name → moment of its outputs (see ``output_moments``); these layers are factored for the data.

    Raises:
        ValueError: if the plan is empty, a layer is unknown, shared, frozen, grouped or holds NaN, ranks are out of
            range or would make the layer larger, or the model is in training mode.
    """
    check_model(model)
    if not plan:
        raise ValueError("plan must name at least one layer; where no rank saves anything there is nothing to factor")
    layers = {name: check_layer(model, name) for name in plan}
    for name, (kind, *ranks) in plan.items():
        check_ranks(name, layers[name], kind, ranks)
    result = copy_model(model)
    for name, (kind, *ranks) in plan.items():
        moment = (moments or {}).get(name) if kind == "svd" else None
        result.set_submodule(name, factor_layer(layers[name], kind, ranks, moment))
    _describe(result, plan)
    before = {name: parameters(layer) for name, layer in layers.items()}
    return LowRankResult(result, {name: tuple(entry) for name, entry in plan.items()}, before)


def plan_for_size(
    model: nn.Module, size: float, kind: str = "svd", layers: Collection[str] | None = None, *, multiple: int = 8
) -> dict[str, Ranks]:
    """The same ``size`` for every layer: ranks at that share of the break-even point; see ``ranks_for_size``.

    Layers that cannot be factored as ``kind``, or would not become smaller, are left out; if none can be, the error
    says why for the first. Errors as in ``factorize``.
    """
    return _plan(model, kind, layers, lambda name, layer: ranks_for_size(layer, kind, size, multiple))


def plan_for_energy(
    model: nn.Module,
    share: float,
    kind: str = "svd",
    layers: Collection[str] | None = None,
    moments: Mapping[str, Tensor] | None = None,
    *,
    multiple: int = 8,
) -> dict[str, Ranks]:
    """The same share of energy for every layer, so that each gets the rank that it needs.

    Ranks are rounded up to ``multiple``. A layer that needs more than the break-even rank is left out. For Tucker-2,
    each of the two channel axes keeps the share. Errors as in ``factorize``.
    """

    def ranks(name: str, layer: Any) -> tuple[int, ...] | None:
        moment = (moments or {}).get(name) if kind == "svd" else None
        needed = []
        for matrix in [layer.weight.transpose(0, 1), layer.weight] if kind == "tucker" else [layer.weight]:
            rank = rank_for_energy(singular_values(matrix, moment), share)
            needed.append(min(-(-rank // multiple) * multiple, *as_matrix(matrix).shape))
        return tuple(needed) if factored_parameters(layer, kind, needed) < parameters(layer) else None

    return _plan(model, kind, layers, ranks)


def _plan(
    model: nn.Module, kind: str, layers: Collection[str] | None, ranks: Callable[[str, nn.Module], Ranks | None]
) -> dict[str, Ranks]:
    """``ranks(name, layer)`` of each layer; where they are None the layer is left out."""
    check_model(model)
    names = factorable(model, kind) or _layers_of_kind(model, kind) if layers is None else layers
    found = {name: ranks(name, check_layer(model, name)) for name in names}
    return {name: (kind, *chosen) for name, chosen in found.items() if chosen is not None}


def factorable(model: nn.Module, kind: str) -> list[str]:
    """Names of the layers that can be factored as ``kind``: ungrouped convolutions with a kernel, linear layers for
    ``"svd"`` too, embedding tables for ``"embedding"``. Factors are not factored again; frozen and shared layers, and
    those that ``check_layer`` would refuse, are left out.
    """
    layers = _layers_of_kind(model, kind)
    return [name for name, layer in layers.items() if not _refusal(model, name, layer) and _has_factors(layer, kind)]


def _layers_of_kind(model: nn.Module, kind: str) -> dict[str, nn.Module]:
    """Name → layer that could be factored as ``kind`` if nothing else prevents it."""
    found = {}
    for name, module in model.named_modules():
        spatial = isinstance(module, nn.Conv2d) and module.groups == 1 and max(module.kernel_size) > 1
        linear = kind == "svd" and is_linear(module)
        table = kind == "embedding" and isinstance(module, nn.Embedding)
        if table or linear or (spatial and kind != "embedding"):
            found[name] = module
    return found


def _has_factors(module: nn.Module, kind: str) -> bool:
    """Whether the factors of a layer can be made: its padding may not fit them."""
    try:
        factored_parameters(module, kind, [1] * KINDS[kind])
    except ValueError:
        return False
    return True


def check_model(model: nn.Module) -> None:
    """Raise ``ValueError`` if ``model`` is in training mode, or has no values."""
    check_has_values(model)
    if model.training:
        raise ValueError("model must be in eval mode to be factored; call model.eval() first")


def check_layer(model: nn.Module, name: str) -> nn.Module:
    """The layer of this name, or a ``ValueError`` that says why it cannot be factored."""
    layer: Any = dict(model.named_modules(remove_duplicate=False)).get(name)
    if layer is None:
        raise ValueError(f"layer {name!r} is not a layer of {type(model).__name__}")
    if reason := _refusal(model, name, layer):
        raise ValueError(f"layer {name!r} {reason}")
    if not layer.weight.isfinite().all():
        raise ValueError(f"the weight of layer {name!r} must be finite, it holds NaN or infinity")
    return layer


def _refusal(model: nn.Module, name: str, layer: Any) -> str:
    """Why a layer cannot be factored; empty if it can."""
    modules = dict(model.named_modules(remove_duplicate=False))
    if isinstance(layer, Factored) or isinstance(modules.get(name.rpartition(".")[0]), Factored):
        return "is factored already; merge it or begin with the original model"
    if not (is_linear(layer) or isinstance(layer, nn.Conv2d | nn.Embedding)):
        return f"is a {type(layer).__name__}; convolutions, linear layers, embeddings can be"
    if not is_transposed(layer) and type(layer).forward not in (kind.forward for kind in FACTORABLE):
        return f"is a {type(layer).__name__} with a forward pass of its own, which its factors would not have"
    if name in uncalled_layers(model):
        return "is used by its attention module without being called, so its factors would not be either"
    if recomputed_parameter(layer):
        return "recomputes its weight before each call; make it a plain parameter first"
    holders = [other for other, module in modules.items() if module._parameters.get("weight") is layer.weight]
    if len(holders) > 1:
        return f"shares its weight with {next(one for one in holders if one != name)!r}"
    if not all(parameter.requires_grad for parameter in layer.parameters()):
        return "is frozen (requires_grad is False); unfreeze it, or leave it out of the plan"
    if hasattr(layer, input_quantizers.GRID):
        return "rounds its input to a grid; factor the model first and quantize it then"
    if changes_values(layer):
        return "has forward hooks or a forward function of its own, which its factors would not have; remove them first"
    return ""


def check_ranks(name: str, layer: nn.Module, kind: str, ranks: Collection[Any]) -> None:
    """Raise ``ValueError`` if ranks are out of range or would make the layer larger."""
    try:
        after = factored_parameters(layer, kind, list(ranks))
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from error
    if after < parameters(layer):
        return
    advice = "choose smaller ranks, or leave the layer as it is"
    if kind in ("svd", "embedding"):
        weight: Any = layer.weight
        advice = f"it becomes smaller up to rank {break_even_rank(weight.shape[0], weight[0].numel())}"
    raise ValueError(
        f"ranks of layer {name!r} would make it larger: {kind} {list(ranks)} holds {after:,} numbers, the layer has "
        f"{parameters(layer):,}; {advice}"
    )


def _describe(model: nn.Module, plan: Plan) -> None:
    """Write the ranks into the description; entries for the width or folded norm of a layer move to its factors."""
    extend_argument(model, "ranks", {name: list(entry) for name, entry in plan.items()})
    arguments = getattr(model, models.ARCHITECTURE_ATTRIBUTE, {}).get("arguments", {})
    widths = arguments.get("widths", {})
    for name in plan:
        factors = dict(model.get_submodule(name).named_children())
        if widths.pop(name, None) is not None:
            widths |= {f"{name}.{key}": sizes(factor) for key, factor in factors.items()}
        for pair in arguments.get("folds", ()):
            pair[0] = f"{name}.{list(factors)[-1]}" if pair[0] == name else pair[0]
