"""The search space: subnets of ResNet18 with elastic resolution, depth and width.

A subnet is one choice for each of 13 genes: the resolution, and for each of the four stages its number of blocks, its
width (output channels), and its expansion (inner channels of a block relative to its width).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
from numpy.typing import NDArray

from course_lib.core.validation import check_fraction

STAGES = 4
DIVISOR = 8
RESNET18_WIDTHS = (64, 128, 256, 512)
INPUT_RESOLUTION = 56


@dataclass(frozen=True)
class Subnet:
    """One architecture of the space.

    Args:
        resolution: pixels to which the images are resized.
        depths: residual blocks of each stage.
        widths: output channels of each stage; the stem has those of the first stage.
        expansions: inner channels of the blocks of each stage, relative to ``widths``.
    """

    resolution: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    expansions: tuple[float, ...]

    @property
    def inner_widths(self) -> tuple[int, ...]:
        """Channels between the two convolutions of a block, for each stage: a multiple of 8."""
        pairs = zip(self.widths, self.expansions, strict=True)
        return tuple(DIVISOR * math.ceil(width * expansion / DIVISOR) for width, expansion in pairs)

    def __str__(self) -> str:
        stages = zip(self.depths, self.widths, self.inner_widths, strict=True)
        return f"{self.resolution} px: " + " ".join(f"{depth}x{width}/{inner}" for depth, width, inner in stages)


@dataclass(frozen=True)
class SearchSpace:
    """The choices for every gene; those of depth, width and expansion are given per stage.

    Each list of choices is sorted, from small to large.
    """

    resolutions: tuple[int, ...]
    depths: tuple[tuple[int, ...], ...]
    widths: tuple[tuple[int, ...], ...]
    expansions: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for name in ("depths", "widths", "expansions"):
            if len(getattr(self, name)) != STAGES:
                raise ValueError(f"{name} must have choices for {STAGES} stages, got {len(getattr(self, name))}")
        for choices in self.choices:
            if not choices or list(choices) != sorted(set(choices)) or choices[0] <= 0:
                raise ValueError(f"choices must be positive, sorted and different, got {choices}")

    @cached_property
    def choices(self) -> tuple[tuple[Any, ...], ...]:
        """The choices of every gene, in the order of ``genes``."""
        return (self.resolutions, *self.depths, *self.widths, *self.expansions)

    @cached_property
    def gene_names(self) -> tuple[str, ...]:
        """``"resolution"``, ``"depth 1"``, …, ``"expansion 4"``."""
        kinds = ("depth", "width", "expansion")
        return ("resolution", *(f"{kind} {stage + 1}" for kind in kinds for stage in range(STAGES)))

    @property
    def size(self) -> int:
        """Number of different subnets."""
        return math.prod(len(choices) for choices in self.choices)

    @property
    def largest(self) -> Subnet:
        """The last choice of every gene."""
        return self.subnet([len(choices) - 1 for choices in self.choices])

    @property
    def smallest(self) -> Subnet:
        """The first choice of every gene."""
        return self.subnet([0] * len(self.choices))

    def subnet(self, genes: Sequence[int]) -> Subnet:
        """The subnet whose gene ``i`` is choice number ``genes[i]``."""
        values = [choices[gene] for choices, gene in zip(self.choices, genes, strict=True)]
        stages = [tuple(values[start : start + STAGES]) for start in range(1, len(values), STAGES)]
        return Subnet(values[0], *stages)

    def genes(self, subnet: Subnet) -> tuple[int, ...]:
        """The number of the choice for every gene.

        Raises:
            ValueError: if ``subnet`` is not in the space; names the gene and its choices.
        """
        values = (subnet.resolution, *subnet.depths, *subnet.widths, *subnet.expansions)
        if len(values) != len(self.choices):
            raise ValueError(f"subnet must have {len(self.choices)} genes, got {len(values)}")
        for name, value, choices in zip(self.gene_names, values, self.choices, strict=True):
            if value not in choices:
                raise ValueError(f"{name} must be among {', '.join(map(str, choices))}; got {value}")
        return tuple(choices.index(value) for value, choices in zip(values, self.choices, strict=True))

    def sample(self, generator: random.Random) -> Subnet:
        """A subnet drawn uniformly."""
        return self.subnet([generator.randrange(len(choices)) for choices in self.choices])

    def mutate(self, subnet: Subnet, probability: float, generator: random.Random) -> Subnet:
        """Each gene is drawn again with this probability, at least one of them to another value."""
        check_fraction("probability", probability, below_one=False)
        genes = list(self.genes(subnet))
        changed = [i for i in range(len(genes)) if generator.random() < probability]
        for i in changed or [generator.choice([i for i, c in enumerate(self.choices) if len(c) > 1])]:
            others = [number for number in range(len(self.choices[i])) if number != genes[i]]
            genes[i] = generator.choice(others) if others else genes[i]
        return self.subnet(genes)

    def crossover(self, first: Subnet, second: Subnet, generator: random.Random) -> Subnet:
        """Each gene is that of one of two parents, with equal probability (uniform crossover)."""
        pairs = zip(self.genes(first), self.genes(second), strict=True)
        return self.subnet([generator.choice(pair) for pair in pairs])

    def one_hot(self, subnet: Subnet) -> NDArray[numpy.float64]:
        """The genes as ``(sum of the numbers of choices,)`` zeros and ones: the input of a predictor."""
        rows = zip(self.genes(subnet), self.choices, strict=True)
        return numpy.concatenate([numpy.eye(len(choices))[gene] for gene, choices in rows])

    def uniform_widths(self, resolution: int | None = None) -> Iterator[Subnet]:
        """The largest subnet with all widths scaled alike, from narrow to wide; one for each width of the last stage.

        Widths are rounded to the nearest choice. Source: Howard et al., MobileNets, 2017 (the width multiplier).
        """
        largest = self.largest
        for width in self.widths[-1]:
            ratio = width / self.widths[-1][-1]
            widths = tuple(min(choices, key=lambda c: abs(c - ratio * choices[-1])) for choices in self.widths)
            yield Subnet(resolution or largest.resolution, largest.depths, widths, largest.expansions)


RESNET18_SPACE = SearchSpace(
    resolutions=(28, 35, 42, 49, 56),
    depths=((1, 2),) * STAGES,
    widths=((16, 24, 32), (24, 32, 40, 48, 56, 64), (48, 64, 80, 96, 112, 128), (96, 128, 160, 192, 224, 256)),
    expansions=((0.5, 1.0),) * STAGES,
)
"""The shipped supernet: at most half the width of ResNet18."""


def architecture(subnet: Subnet, num_classes: int = 10, *, resized: bool = True) -> dict[str, Any]:
    """The description from which ``models.build`` makes a plain net of this shape.

    Args:
        resized: whether the net resizes its images to ``subnet.resolution`` itself (unless that is the course's 56);
            else it must be given images of that size.
    """
    arguments: dict[str, Any] = {"num_classes": num_classes, "widths": layer_widths(subnet, num_classes)}
    if removed := [f"layer{stage + 1}.1" for stage, depth in enumerate(subnet.depths) if depth == 1]:
        arguments["removed"] = removed
    if not resized or subnet.resolution == INPUT_RESOLUTION:
        return {"builder": "resnet18", "arguments": arguments}
    return {"builder": "resized_resnet18", "arguments": {"resolution": subnet.resolution, **arguments}}


def layer_widths(subnet: Subnet, num_classes: int = 10) -> dict[str, list[int]]:
    """Layer of ResNet18 → ``[in, out]`` channels, or ``[n]`` of a BatchNorm; see ``architectures.layer_sizes``."""
    before = subnet.widths[0]
    widths = {"conv1": [3, before], "bn1": [before]}
    for stage, (depth, width, inner) in enumerate(
        zip(subnet.depths, subnet.widths, subnet.inner_widths, strict=True), start=1
    ):
        for number in range(depth):
            block = f"layer{stage}.{number}"
            widths |= {f"{block}.conv1": [before, inner], f"{block}.bn1": [inner]}
            widths |= {f"{block}.conv2": [inner, width], f"{block}.bn2": [width]}
            if number == 0 and stage > 1:
                widths |= {f"{block}.downsample.0": [before, width], f"{block}.downsample.1": [width]}
            before = width
    return widths | {"fc": [before, num_classes]}
