"""Preparing images and tokens for a model: scaling, augmentation, padding, joining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Inputs = Tensor | dict[str, Tensor]


def prepare_images(images: Tensor, upscale: int = 1) -> Tensor:
    """Turn uint8 images ``(B, H, W)`` or ``(B, C, H, W)`` into float ``(B, 3, H * upscale, W * upscale)``.

    Grey images are repeated to three channels; values are scaled to about [-1, 1].
    """
    images = images.unsqueeze(1) if images.dim() == 3 else images
    values = images.float().div_(127.5).sub_(1.0)
    if upscale != 1:
        values = F.interpolate(values, scale_factor=upscale, mode="bilinear", align_corners=False)
    return values.expand(-1, 3, -1, -1).contiguous() if values.shape[1] == 1 else values


@dataclass(frozen=True)
class Augmentation:
    """How training images are augmented, beside random horizontal flips.

    Args:
        shift: largest translation in each direction, in pixels.
        hole: width of the Cutout square, in half of the images; 0 for none. Small nets often learn more without.
    """

    shift: int = 2
    hole: int = 8

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be a whole number of pixels of at least 0, got {value!r}")


def augment_images(images: Tensor, generator: torch.Generator, shift: int = 2, hole: int = 8) -> Tensor:
    """Flip, shift by up to ``shift`` pixels, and cut a ``hole`` × ``hole`` square out of half of the images.

    Source: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    """
    batch, height, width = len(images), images.shape[-2], images.shape[-1]

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (batch, 1), generator=generator)

    flipped, right, down = draw(0, 2).bool(), draw(-shift, shift + 1), draw(-shift, shift + 1)
    top, left, cut = draw(0, height), draw(0, width), draw(0, 2).bool()
    if hole:
        rows, columns = ((torch.arange(size) - start).abs() for size, start in ((height, top), (width, left)))
        square = ((rows <= hole // 2) & cut)[:, :, None] & (columns <= hole // 2)[:, None, :]
        images = images.masked_fill(square.reshape(batch, *[1] * (images.dim() - 3), height, width), 0)
    return move_images(images, flipped, down, right)


def move_images(images: Tensor, mirrored: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Crop each image to a window moved ``down`` and ``right``; pixels outside the image are black.

    Args:
        images: ``(B, …, H, W)``.
        mirrored: boolean ``(B, 1)``; which windows are flipped horizontally.
        down: pixels, ``(B, 1)``, and ``right`` likewise; negative values move up and to the left.
    """
    batch, height, width = len(images), images.shape[-2], images.shape[-1]
    columns = torch.arange(width).expand(batch, -1)
    columns = torch.where(mirrored, width - 1 - columns, columns) + right
    rows = torch.arange(height).expand(batch, -1) + down
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    planes = images.reshape(batch, -1, height * width)
    moved = planes.gather(2, flat.reshape(batch, 1, -1).expand_as(planes))
    return (moved * inside.reshape(batch, 1, -1)).reshape(images.shape)


def group_by_length(order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Shuffled batches of sentences of similar length, so that little padding is computed.

    Rows are sorted by length within pools of 16 batches, then the batches of each pool are shuffled.
    """
    batches: list[Tensor] = []
    for pool in order.split(16 * batch_size):
        sorted_batches = pool[lengths[pool].argsort(stable=True)].split(batch_size)
        shuffled = torch.randperm(len(sorted_batches), generator=generator).tolist()
        batches += [sorted_batches[index] for index in shuffled]
    return batches


def trim_padding(tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut token tensors ``(B, L)`` after the last real token of the batch.

    Padding before a sentence stays, because the positions of its tokens count from there. Without an
    ``attention_mask`` ``(B, L)`` every token is real.
    """
    mask = tokens.get("attention_mask")
    if mask is None or mask.dim() != 2:
        return dict(tokens)
    length = max(1, int(token_counts(tokens).max()))
    return {key: value[:, :length] if value.shape[:2] == mask.shape else value for key, value in tokens.items()}


def token_counts(tokens: Mapping[str, Tensor]) -> Tensor:
    """Positions up to the last real token of each sentence, ``(B,)``, padding before it included."""
    mask = tokens.get("attention_mask")
    if mask is None or mask.dim() != 2:
        rows = next(iter(tokens.values()))
        return torch.full((len(rows),), rows.shape[1] if rows.dim() > 1 else 1)
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return ((mask != 0) * positions).amax(dim=1)


def model_inputs(inputs: Inputs, upscale: int) -> Inputs:
    """Inputs as a model takes them: trimmed tokens, float images; float tensors are unchanged."""
    if isinstance(inputs, Mapping):
        return trim_padding(inputs)
    return prepare_images(inputs, upscale) if inputs.dtype == torch.uint8 else inputs


def join_inputs(parts: Sequence[Inputs]) -> Inputs:
    """Inputs of several batches or splits as one; tokens are padded at the end to the longest sentence.

    The padding of ``input_ids`` is the one that the parts have (0 if none has any), that of other tensors is 0.

    Raises:
        ValueError: if some are tokens and others are not, if they have other names, or if they have to be padded and
            have no ``attention_mask``.
    """
    tokens = [part for part in parts if isinstance(part, Mapping)]
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if tokens and tensors:
        raise ValueError("inputs must all be tokens or all be images, got both")
    if not tokens:
        return torch.cat(tensors)
    names = [sorted(part) for part in tokens]
    if any(other != names[0] for other in names):
        raise ValueError(f"inputs must have the same names to be joined, got {names}")
    lengths = {part["input_ids"].shape[1] for part in tokens if "input_ids" in part}
    if len(lengths) > 1 and "attention_mask" not in tokens[0]:
        raise ValueError(
            f"inputs of lengths {sorted(lengths)} need an attention_mask to be joined: padding is no token"
        )
    pad = {"input_ids": _padding_id(tokens)}
    return {key: _pad_and_join([part[key] for part in tokens], pad.get(key, 0)) for key in tokens[0]}


def _padding_id(parts: Sequence[Mapping[str, Tensor]]) -> int:
    """The token that stands where the attention mask is 0; 0 if nothing is padded."""
    for part in parts:
        if "input_ids" in part and "attention_mask" in part:
            padding = part["input_ids"][part["attention_mask"] == 0]
            if len(padding):
                return int(padding[0])
    return 0


def _pad_and_join(rows: Sequence[Tensor], padding: int) -> Tensor:
    if rows[0].dim() < 2:
        return torch.cat(list(rows))
    longest = max(tensor.shape[1] for tensor in rows)
    return torch.cat([F.pad(tensor, (0, longest - tensor.shape[1]), value=padding) for tensor in rows])
