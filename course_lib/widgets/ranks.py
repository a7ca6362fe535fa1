"""The panel of lesson 11: energy, size and filters of a layer at a rank.

Every layer is decomposed once, when the panel is made; a move of the slider multiplies a few rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel
from course_lib.widgets.svg import chart, text
from course_lib.widgets.weights import weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

LAYERS = ("conv1", "layer1.0.conv1", "layer2.0.conv2", "layer3.0.conv2", "layer4.1.conv2", "fc")
POINTS = 24  # of a curve
HIGHEST = 150  # per cent of the layer, where the chart ends
SHADES = 6
GRID = (3, 9)  # rows and columns of filters


@dataclass(frozen=True)
class DecomposedLayer:
    """A layer as ``left (m, k)`` times ``right (k, n)`` of full rank k; ``energy`` is kept by ranks 1, 2, …, k."""

    shape: tuple[int, ...]
    left: numpy.ndarray
    right: numpy.ndarray
    energy: numpy.ndarray

    @classmethod
    def of(cls, weight: Tensor) -> DecomposedLayer:
        """The SVD of ``weight``, by the functions of ``lowrank``."""
        from course_lib import lowrank

        right, left = lowrank.svd_factors(weight, min(weight.flatten(1).shape))
        energy = lowrank.energy(lowrank.singular_values(weight))
        return cls(tuple(weight.shape), left.numpy(), right.flatten(1).numpy(), energy.numpy())

    @property
    def values(self) -> int:
        """Numbers in the matrix."""
        return self.left.shape[0] * self.right.shape[1]

    def factors(self, rank: int) -> int:
        """Numbers in the two factors."""
        return rank * (self.left.shape[0] + self.right.shape[1])

    @property
    def break_even(self) -> int:
        """The largest rank whose factors hold fewer numbers than the matrix."""
        from course_lib import lowrank

        return lowrank.break_even_rank(self.left.shape[0], self.right.shape[1])

    def filters(self, rank: int, count: int) -> numpy.ndarray:
        """The first ``count`` rows of the matrix at this rank; filters are averaged over their input channels."""
        rows = self.left[:count, :rank] @ self.right[:rank]
        if len(self.shape) == 2:
            return rows[:, None, :]
        return rows.reshape(-1, *self.shape[1:]).mean(axis=1)


@dataclass(frozen=True)
class TruncatedLayer:
    """A layer at a rank."""

    name: str
    decomposed: DecomposedLayer
    rank: int


def rank_panel(subject: nn.Module | Tensor | None = None, *, rank: float = 0.25) -> Panel:
    """Drag the rank of a layer, and see energy and size of its two factors.

    Args:
        subject: a model, one layer, or one weight ``(out, in)`` or ``(out, in, k, k)``; ResNet18 when not given.
        rank: start of the slider, as a share of the largest rank.

    Raises:
        ValueError: if the subject has no weights to decompose.
    """
    weights = weights_of(subject)
    weights = {name: weights[name] for name in LAYERS} if subject is None else weights
    names = list(weights)
    decomposed = {name: DecomposedLayer.of(weight) for name, weight in weights.items()}
    controls: dict[str, Any] = {"rank": slider(rank, 0.0, 1.0, 0.005, label="Rank (share of the largest)", unit="%")}
    if len(names) > 1:
        controls["layer"] = choice(*names, value="layer3.0.conv2" if "layer3.0.conv2" in names else names[0])

    def compute(rank: float, layer: str = names[0]) -> TruncatedLayer:
        return TruncatedLayer(layer, decomposed[layer], max(1, round(rank * len(decomposed[layer].energy))))

    return Panel(
        compute,
        draw,
        numbers=numbers,
        title="How much rank does a layer need?",
        subtitle="Drag, or focus the slider and use the arrow keys. "
        "Right of the grey line the factors are larger than the layer.",
        **controls,
    )


def draw(layer: TruncatedLayer) -> str:
    """Energy and size over the rank, and the filters before and after."""
    matrix = layer.decomposed
    ranks = sorted({1, *numpy.linspace(1, len(matrix.energy), POINTS).round().astype(int).tolist()})
    energy = charts.Line("energy kept", ranks, [100 * float(matrix.energy[rank - 1]) for rank in ranks])
    inside = [rank for rank in ranks if matrix.factors(rank) <= HIGHEST / 100 * matrix.values]
    share = [100 * matrix.factors(rank) / matrix.values for rank in inside]
    size = charts.Line("size", inside, share, "before", "square")
    edge = matrix.break_even + 0.5
    curves = [energy, size, charts.Line("break-even", [edge, edge], [0, HIGHEST], "baseline", "diamond")]
    main = charts.lines(
        curves, title=f"{layer.name}: {len(matrix.left)} × {matrix.right.shape[1]}", x_label="rank",
        y_label="% of the layer", x_range=(0, len(matrix.energy)), y_range=(0, HIGHEST), cursor=layer.rank,
        width=charts.MAIN,
    )  # fmt: skip
    return side_by_side(main, _filters(layer))


def numbers(layer: TruncatedLayer) -> list[Number]:
    """Rank, size, energy and error."""
    matrix = layer.decomposed
    held, whole = matrix.factors(layer.rank), matrix.values
    kept = float(matrix.energy[layer.rank - 1])
    ratio = f"{whole / held:.1f} × smaller" if held < whole else f"{held / whole:.1f} × larger"
    return [
        Number(f"rank {layer.rank}", f"break-even: {matrix.break_even}", "exact"),
        Number(f"{held:,}", f"numbers in the factors, was {whole:,}: {ratio}", "exact"),
        Number(f"{100 * kept:.1f} %", "of the energy", "exact"),
        Number(f"{100 * max(0.0, 1 - kept) ** 0.5:.0f} %", "relative error of the weight", "exact"),
    ]


def _filters(layer: TruncatedLayer) -> str:
    """Filters before and at this rank on one scale: blue above zero, orange below."""
    rows, columns = GRID
    before = layer.decomposed.filters(len(layer.decomposed.energy), rows * columns)
    after = layer.decomposed.filters(layer.rank, rows * columns)
    span = float(numpy.quantile(numpy.abs(before), 0.98)) or 1.0
    parts = [text(4, 34, "as trained"), _bank(before, span, 42)]
    parts += [text(4, 142, f"rank {layer.rank}"), _bank(after, span, 150)]
    title = "Filters" if len(layer.decomposed.shape) == 4 else "Rows of the matrix"
    return chart(parts, width=charts.COMPANION, height=charts.HEIGHT, title=title, description=f"at rank {layer.rank}")


def _bank(filters: numpy.ndarray, span: float, top: float) -> str:
    """Small images in a grid; cells of equal shade share one path."""
    high, wide = filters.shape[1:]
    rows, columns = GRID if high > 1 else (len(filters), 1)
    room = (charts.COMPANION - 8) / columns, 80 / rows
    step = (min(*room) * 0.92 / high,) * 2 if high > 1 else (room[0] / wide, room[1] * 0.8)
    shades: dict[tuple[str, int], list[str]] = {}
    for index, one in enumerate(filters):
        left, upper = 4 + index % columns * room[0], top + index // columns * room[1]
        for (row, column), value in numpy.ndenumerate(one):
            shade = min(SHADES, round(SHADES * abs(float(value)) / span))
            if shade:
                x, y = left + column * step[0], upper + row * step[1]
                shades.setdefault(("kept" if value > 0 else "before", shade), []).append(
                    f"M{x:.1f} {y:.1f}h{step[0]:.2f}v{step[1]:.2f}h-{step[0]:.2f}z"
                )
    return "".join(
        f'<path class="{colour}" fill-opacity="{shade / SHADES:.2f}" d="{"".join(route)}"/>'
        for (colour, shade), route in shades.items()
    )
