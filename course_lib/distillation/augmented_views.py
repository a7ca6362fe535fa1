"""Augmented views: all versions of an image under flips and shifts, each with its own target of the teacher.

A student that is shown a shifted image gets the logits of the teacher for the *shifted* image, not for the original.
There are only ``2 · (2 · shift + 1)²`` versions, so that the logits are computed once and used in every epoch.

Source: Beyer et al., Knowledge distillation: A good teacher is patient and consistent, 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.core.validation import check_positive
from course_lib.data import Augmentation, Inputs, Split, move_images, refuse_test
from course_lib.distillation.targets import teacher_logits


@dataclass(frozen=True)
class Views(Split):
    """Images that are shown in a random version each time; its label says which one: ``version · N + row``."""

    shift: int = 1

    @property
    def versions(self) -> Tensor:
        """One row for each version ``(V, 3)``: flipped or not, pixels down, pixels to the right."""
        moves = torch.arange(-self.shift, self.shift + 1)
        return torch.cartesian_prod(torch.arange(2), moves, moves)

    def version(self, number: int) -> Split:
        """All images in one version, as an ordinary split with the true labels."""
        fields = {name: getattr(self, name) for name in Split.__dataclass_fields__}
        return Split(**fields | {"inputs": self._shown(torch.arange(len(self)), torch.tensor([number]))})

    def batches(
        self, batch_size: int = 256, *, shuffle: bool = False, augment: bool | Augmentation = False, seed: int = 0
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Batches as of a split; ``augment`` is ignored, since the versions are the augmentation."""
        check_positive("batch_size", batch_size)
        refuse_test(self, "shown in many versions (which is what training does)")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator) if shuffle else torch.arange(len(self))
        for rows in order.split(batch_size):
            numbers = torch.randint(0, len(self.versions), (len(rows),), generator=generator)
            yield self._prepare(self._shown(rows, numbers)), numbers * len(self) + rows

    def _shown(self, rows: Tensor, numbers: Tensor) -> Inputs:
        flipped, down, right = self.versions[numbers].T[:, :, None]
        images: Any = self.inputs
        return move_images(images[rows], flipped.bool(), down, right)


def views(split: Split, shift: int) -> Views:
    """The images of ``split`` in random versions, shifted by at most ``shift`` pixels.

    Raises:
        ValueError: if the split has no images.
    """
    if not isinstance(split.inputs, Tensor) or split.inputs.dtype != torch.uint8:
        raise ValueError(f"versions are made of images (uint8), but split {split.name!r} of {split.dataset} has none")
    return Views(**{name: getattr(split, name) for name in Split.__dataclass_fields__}, shift=shift)


def view_logits(teacher: nn.Module, shown: Views, **options: Any) -> Tensor:
    """Logits of the teacher for every version of every image, ``(versions · N, classes)``.

    Args:
        options: of ``teacher_logits``.
    """
    return torch.cat(
        [teacher_logits(teacher, shown.version(number), **options) for number in range(len(shown.versions))]
    )
