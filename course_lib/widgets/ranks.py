"""The panel of lesson 11: what a rank keeps of a layer, what it costs, and what its filters look like then.

Every layer is decomposed once, when the panel is made; a move of the slider multiplies a few factors.
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
TALLEST = 150  # per cent of the layer, where the chart ends
LEVELS = 6
SHOWN = (3, 9)  # rows and columns of filters


@dataclass(frozen=True)
class Spectrum:
    """One layer, decomposed into ``left (m, k)`` times ``right (k, n)``; ``kept`` is the energy at rank 1, 2, …, k."""

    shape: tuple[int, ...]
    left: numpy.ndarray
    right: numpy.ndarray
    kept: numpy.ndarray

    @classmethod
    def of(cls, weight: Tensor) -> Spectrum:
        """By way of the smaller Gram matrix, which is many times as fast as the SVD of a flat matrix."""
        import torch

        matrix = weight.detach().double().flatten(1)
        wide = matrix.shape[0] <= matrix.shape[1]
        squares, vectors = torch.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
        squares, vectors = squares.flip(0).clamp_min(0), vectors.flip(1)
        left, right = (vectors, vectors.T @ matrix) if wide else (matrix @ vectors, vectors.T)
        kept = squares.cumsum(0) / squares.sum().clamp_min(1e-30)
        return cls(tuple(weight.shape), left.float().numpy(), right.float().numpy(), kept.numpy())

    @property
    def numbers(self) -> int:
        return self.left.shape[0] * self.right.shape[1]

    def factors(self, rank: int) -> int:
        """Numbers in the two factors."""
        return rank * (self.left.shape[0] + self.right.shape[1])

    @property
    def break_even(self) -> int:
        """The largest rank at which the factors hold fewer numbers."""
        return (self.numbers - 1) // (self.left.shape[0] + self.right.shape[1])

    def filters(self, rank: int, count: int) -> numpy.ndarray:
        """The first ``count`` rows of the matrix at this rank; filters are averaged over their input channels."""
        rows = self.left[:count, :rank] @ self.right[:rank]
        if len(self.shape) == 2:
            return rows[:, None, :]
        return rows.reshape(-1, *self.shape[1:]).mean(axis=1)


@dataclass(frozen=True)
class Cut:
    """What a rank does to a layer."""

    layer: str
    spectrum: Spectrum
    rank: int


def rank_panel(subject: nn.Module | Tensor | None = None, *, rank: float = 0.25) -> Panel:
    """Drag the rank of a layer, and see what its two factors keep and what they cost.

    Args:
        subject: a model, one layer, or one weight ``(out, in)`` or ``(out, in, k, k)``; ResNet18 when not given.
        rank: where the slider starts, as a share of the largest rank.

    Raises:
        ValueError: if the subject has no weights to decompose.
    """
    weights = weights_of(subject)
    weights = {name: weights[name] for name in LAYERS} if subject is None else weights
    names = list(weights)
    spectra = {name: Spectrum.of(weight) for name, weight in weights.items()}
    controls: dict[str, Any] = {"rank": slider(rank, 0.0, 1.0, 0.005, label="Rank (share of the largest)", unit="%")}
    if len(names) > 1:
        controls["layer"] = choice(*names, value="layer3.0.conv2" if "layer3.0.conv2" in names else names[0])

    def compute(rank: float, layer: str = names[0]) -> Cut:
        return Cut(layer, spectra[layer], max(1, round(rank * len(spectra[layer].kept))))

    return Panel(
        compute,
        draw,
        numbers=numbers,
        title="How much rank does a layer need?",
        subtitle="Drag, or focus the slider and use the arrow keys. Right of the grey line the factors are larger than "
        "the layer.",
        **controls,
    )


def draw(cut: Cut) -> str:
    """Energy and size over the rank, and the filters before and after."""
    spectrum = cut.spectrum
    ranks = sorted({1, *numpy.linspace(1, len(spectrum.kept), POINTS).round().astype(int).tolist()})
    energy = charts.Line("energy kept", ranks, [100 * float(spectrum.kept[rank - 1]) for rank in ranks])
    inside = [rank for rank in ranks if spectrum.factors(rank) <= TALLEST / 100 * spectrum.numbers]
    share = [100 * spectrum.factors(rank) / spectrum.numbers for rank in inside]
    size = charts.Line("size", inside, share, "before", "square")
    edge = spectrum.break_even + 0.5
    lines = [energy, size, charts.Line("break-even", [edge, edge], [0, TALLEST], "baseline", "diamond")]
    main = charts.lines(
        lines, title=f"{cut.layer}: {_shape(spectrum.shape)}", x_label="rank", y_label="% of the layer",
        x_range=(0, len(spectrum.kept)), y_range=(0, TALLEST), cursor=cut.rank, width=charts.MAIN,
    )  # fmt: skip
    return side_by_side(main, _filters(cut))


def numbers(cut: Cut) -> list[Number]:
    """Rank, size, energy and error."""
    spectrum = cut.spectrum
    held, whole = spectrum.factors(cut.rank), spectrum.numbers
    kept = float(spectrum.kept[cut.rank - 1])
    ratio = f"{whole / held:.1f} × smaller" if held < whole else f"{held / whole:.1f} × larger"
    return [
        Number(f"rank {cut.rank}", f"break-even: {spectrum.break_even}", "exact"),
        Number(f"{held:,}", f"numbers in the factors, was {whole:,}: {ratio}", "exact"),
        Number(f"{100 * kept:.1f} %", "of the energy", "exact"),
        Number(f"{100 * max(0.0, 1 - kept) ** 0.5:.0f} %", "relative error of the weight", "exact"),
    ]


def _filters(cut: Cut) -> str:
    """The same filters as they were and at this rank, one scale: blue above zero, orange below."""
    rows, columns = SHOWN
    before = cut.spectrum.filters(len(cut.spectrum.kept), rows * columns)
    after = cut.spectrum.filters(cut.rank, rows * columns)
    span = float(numpy.quantile(numpy.abs(before), 0.98)) or 1.0
    parts = [text(4, 34, "as trained"), _bank(before, span, 42)]
    parts += [text(4, 142, f"rank {cut.rank}"), _bank(after, span, 150)]
    title = "Filters" if len(cut.spectrum.shape) == 4 else "Rows of the matrix"
    return chart(parts, width=charts.COMPANION, height=charts.HEIGHT, title=title, description=f"at rank {cut.rank}")


def _bank(filters: numpy.ndarray, span: float, top: float) -> str:
    """Small pictures in a grid; equal shades share one path."""
    high, wide = filters.shape[1:]
    rows, columns = SHOWN if high > 1 else (len(filters), 1)
    room = (charts.COMPANION - 8) / columns, 80 / rows
    step = (min(*room) * 0.92 / high,) * 2 if high > 1 else (room[0] / wide, room[1] * 0.8)
    shades: dict[tuple[str, int], list[str]] = {}
    for index, one in enumerate(filters):
        left, upper = 4 + index % columns * room[0], top + index // columns * room[1]
        for (row, column), value in numpy.ndenumerate(one):
            level = min(LEVELS, round(LEVELS * abs(float(value)) / span))
            if level:
                x, y = left + column * step[0], upper + row * step[1]
                shades.setdefault(("kept" if value > 0 else "before", level), []).append(
                    f"M{x:.1f} {y:.1f}h{step[0]:.2f}v{step[1]:.2f}h-{step[0]:.2f}z"
                )
    return "".join(
        f'<path class="{colour}" fill-opacity="{level / LEVELS:.2f}" d="{"".join(route)}"/>'
        for (colour, level), route in shades.items()
    )


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} × {shape[1] * int(numpy.prod(shape[2:]))}"
