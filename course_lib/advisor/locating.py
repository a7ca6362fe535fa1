"""``locate``: which layers of a compressed model cause its error, and which only pass on what they inherit."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.advisor.pairing import Pair, calls, pair, swapped
from course_lib.advisor.widening import Proposal, propose
from course_lib.data import Split, refuse_test
from course_lib.report.tables import text_table
from course_lib.training.losses import divergence

if TYPE_CHECKING:
    import pandas

INPUT = "(input)"
SHOWN = 8
COMPARED = 32  # examples whose activations are compared layer by layer


@dataclass(frozen=True)
class LayerError:
    """Errors of one layer.

    Args:
        own: squared error of its output on the original's inputs, relative to the output.
        inherited: the same for the original layer on the inputs that it gets in the compressed model.
        damage: mean divergence (nats) of the predictions if this layer alone is compressed.
    """

    layer: str
    kind: str
    own: float
    inherited: float
    damage: float


@dataclass(frozen=True)
class Localization:
    """Layers by the damage that each does alone, the largest first, and which of them to leave wide.

    Args:
        total_damage: divergence of the predictions of the compressed model.
    """

    layers: list[LayerError]
    total_damage: float
    proposal: Proposal = field(repr=False)

    @property
    def first(self) -> str:
        """The layer that does the largest damage by itself; ``"(input)"`` if the inputs differ."""
        return self.layers[0].layer

    @property
    def frame(self) -> pandas.DataFrame:
        """One row per layer: ``layer``, ``kind``, ``own``, ``inherited``, ``damage``."""
        import pandas

        return pandas.DataFrame([vars(one) for one in self.layers])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "first": self.first, "total_damage": self.total_damage, "layers": [vars(one) for one in self.layers],
            "proposal": self.proposal.to_dict(),
        }  # fmt: skip

    def __str__(self) -> str:
        rows = [
            [one.layer, one.kind, f"{one.own:.2g}", f"{one.inherited:.2g}", f"{one.damage:.2g}"]
            for one in self.layers[:SHOWN]
        ]
        table = text_table(["layer", "kind", "own error", "inherited", "damage alone (nats)"], rows)
        return f"{table}\nall layers together: {self.total_damage:.2g} nats\n{self.proposal}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


@torch.no_grad()
def locate(
    original: nn.Module,
    compressed: nn.Module,
    data: Split,
    *,
    compressed_data: Split | None = None,
    examples: int = 128,
    more_bytes: float = 0.05,
    regain: float = 0.9,
) -> Localization:
    """Tell the own error of each layer from what it inherits, and rank the layers by the damage that each does alone.

    Args:
        original, compressed: of the same shapes, for example before and after quantization; neither is changed.
        data: train or validation examples, without labels.
        compressed_data: what the compressed model gets, if its inputs are prepared in another way.
        examples: how many of them are used.
        more_bytes: what the layers that are left wide may add to the file, as a share of it.
        regain: share of the damage that is to be regained.

    Raises:
        TestSplitError: if a split is the test split, because the result decides about layers.
        ValueError: if it is empty, or no layer of the models corresponds.
    """
    for split in (data, compressed_data):
        refuse_test(split, "used to locate errors (which decides how layers are stored)")
    if len(data) == 0:
        raise ValueError("data must hold at least one example, got an empty split")
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:examples]
    inputs = data.take(rows).example(len(rows))
    given = inputs if compressed_data is None else compressed_data.take(rows).example(len(rows))
    both = pair(original, compressed)
    exact = _logits(both.exact, inputs)
    layers = sorted(_layer_errors(both, exact, inputs, given), key=lambda one: -one.damage)
    total = divergence(exact, _logits(both.compressed, given)).item()
    proposal = propose(both, [one.layer for one in layers], exact, given, total, more_bytes, regain)
    return Localization(layers, total, proposal)


def _layer_errors(both: Pair, exact: Tensor, inputs: Any, given: Any) -> list[LayerError]:
    few, few_given = _first(inputs, COMPARED), _first(given, COMPARED)
    ours = calls(both.exact, list(both.names), few)
    theirs = calls(both.compressed, list(both.names.values()), few_given)
    errors = []
    for name, other in both.names.items():
        if name not in ours or other not in theirs:
            continue  # never called: a head that is not used, or weights that attention reads itself
        args, kwargs, wanted = ours[name]
        layer, twin = both.exact.get_submodule(name), both.compressed.get_submodule(other)
        own = relative_error(wanted, twin(*args, **kwargs))
        inherited = relative_error(wanted, layer(*theirs[other][0], **theirs[other][1]))
        damage = 0.0
        if own > 0:
            with swapped(both.exact, {name: twin}) as mixed:
                damage = divergence(exact, _logits(mixed, inputs)).item()
        errors.append(LayerError(name, type(layer).__name__, own, inherited, damage))
    return [*errors, *_input_error(both, exact, inputs, given, ours, theirs)]


def _input_error(
    both: Pair, exact: Tensor, inputs: Any, given: Any, ours: dict[str, Any], theirs: dict[str, Any]
) -> list[LayerError]:
    """The error of what enters the first layer; none if both models get the same."""
    name = next(name for name in both.names if name in ours and both.names[name] in theirs)
    wanted, found = ours[name][0][0], theirs[both.names[name]][0][0]
    if wanted.shape != found.shape or torch.equal(wanted, found) or not wanted.is_floating_point():
        return []
    entering = calls(both.compressed, [both.names[name]], given)[both.names[name]][0]
    damage = divergence(exact, _logits(both.exact, _replaced(inputs, entering[0]))).item()
    return [LayerError(INPUT, "preprocessing", relative_error(wanted, found), 0.0, damage)]


def _replaced(inputs: Any, values: Tensor) -> Any:
    return values if isinstance(inputs, Tensor) and inputs.shape == values.shape else inputs


def relative_error(exact: Tensor, other: Tensor) -> float:
    """sum((exact - other)²) / sum(exact²)."""
    signal = exact.double().square().sum().item()
    return (exact.double() - other.double()).square().sum().item() / max(signal, 1e-30)


def _logits(model: nn.Module, inputs: Any) -> Tensor:
    """Log-probabilities of the predictions."""
    with models.evaluating(model):
        return models.forward(model, inputs).float().log_softmax(dim=1)


def _first(inputs: Any, count: int) -> Any:
    return inputs[:count] if isinstance(inputs, Tensor) else {key: value[:count] for key, value in inputs.items()}
