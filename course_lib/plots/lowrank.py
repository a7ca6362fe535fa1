"""Energy of a weight over the rank, and filters before and after a factorization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from course_lib.core.palette import LIGHT
from course_lib.plots.axes import draw_curves
from course_lib.plots.figure import DASHED, Picture, canvas, described, row_of_axes


def energy_curve(kept: Sequence[float], *, break_even: int, title: str) -> Picture:
    """Energy kept by the first components, and size of the factors, over the rank.

    Args:
        kept: share of the energy at rank 1, 2, ….
        break_even: the largest rank whose factors are smaller than the matrix.
    """
    ranks = list(range(1, len(kept) + 1))
    size = [100 * rank / (break_even + 1) for rank in ranks]
    with canvas(title, "rank", "% of the matrix") as (picture, axes):
        curves = {"energy": (ranks, [100 * share for share in kept]), "size": (ranks, size)}
        axes.axhline(100, color=LIGHT["baseline"], **DASHED)
        axes.axvline(break_even, color=LIGHT["threshold"], linewidth=1.4, linestyle=(0, (5, 3)))
        draw_curves(axes, curves, every=max(1, len(kept) // 8), bottom=0, top=max(110.0, min(size[-1], 250.0)))
        axes.annotate(
            f" break-even, rank {break_even}", (break_even, 0.03), xycoords=("data", "axes fraction"),
            color=LIGHT["threshold_text"],
        )  # fmt: skip
    half = next(rank for rank, share in zip(ranks, kept, strict=True) if share >= 0.5)
    return described(picture, title, f"half of the energy is in rank {half}; break-even is rank {break_even}")


def filter_banks(banks: Mapping[str, Tensor], *, title: str, columns: int = 8, rows: int = 4) -> Picture:
    """The first filters of each bank as small images on one scale: orange below zero, blue above.

    Args:
        banks: name → weight ``(out, in, k, k)``; the mean over the input channels is shown.
    """
    pages = {name: _page(weight, rows, columns) for name, weight in banks.items()}
    span = max(float(numpy.nanquantile(numpy.abs(page), 0.98)) for page in pages.values()) or 1.0
    colours = LinearSegmentedColormap.from_list("filters", [LIGHT["before"], "white", LIGHT["kept"]])
    with row_of_axes(title, len(pages), 0.75 + 7.2 / len(pages) * rows / columns) as (picture, blocks):
        for axes, (name, page) in zip(blocks, pages.items(), strict=True):
            axes.imshow(page, cmap=colours, vmin=-span, vmax=span, interpolation="nearest")
            axes.set_title(name, fontsize=9.5, fontweight="normal", loc="left")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
    return described(picture, title, f"{rows * columns} filters each, " + ", ".join(pages))


def _page(weight: Tensor, rows: int, columns: int) -> numpy.ndarray:
    """Filters in a grid, separated by blank lines."""
    filters = weight.detach().float().mean(dim=1)[: rows * columns].numpy()
    high, wide = filters.shape[1:]
    page = numpy.full((rows * (high + 1) - 1, columns * (wide + 1) - 1), numpy.nan)
    for index, one in enumerate(filters):
        top, left = index // columns * (high + 1), index % columns * (wide + 1)
        page[top : top + high, left : left + wide] = one
    return page
