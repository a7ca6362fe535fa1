"""Compact students: narrow and depthwise-separable residual networks, and a factorized word embedding.

They take the same input as the large model; a student for smaller images downsamples them in its first layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.core.validation import check_positive


class SmallResNet(nn.Module):
    """ResNet18 with other widths and depths (He et al., Deep Residual Learning, 2015).

    Args:
        channels: of each stage; every stage but the first halves the image. ResNet18 has (64, 128, 256, 512).
        blocks: residual blocks per stage; ResNet18 has 2 in each.
        shrink: factor of the average pooling of images ``(B, 3, H, W)``; above 1, only the first of the three equal
            channels of a grey image is used, and the stem is a 3×3 convolution without max pooling.
        stem_stride: stride of the stem.
        depthwise: whether 3×3 convolutions are depthwise separable (Howard et al., MobileNets, 2017).
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        shrink: int = 1,
        stem_stride: int = 2,
        depthwise: bool = False,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if len(channels) != len(blocks) or not channels:
            raise ValueError(f"channels and blocks must have the same length above 0, got {channels} and {blocks}")
        for size in (*channels, *blocks, shrink, stem_stride, num_classes):
            check_positive("channels, blocks, shrink, stem_stride and num_classes", size)
        self.shrink = shrink
        kernel = 7 if shrink == 1 else 3
        self.stem = _convolution(3 if shrink == 1 else 1, channels[0], kernel, stem_stride)
        self.pool: nn.Module = nn.MaxPool2d(3, 2, 1) if shrink == 1 else nn.Identity()
        self.stages = nn.ModuleList()
        before = channels[0]
        for stage, (width, depth) in enumerate(zip(channels, blocks, strict=True)):
            strides = [1 if stage == 0 else 2] + [1] * (depth - 1)
            inputs = [before] + [width] * (depth - 1)
            self.stages.append(
                nn.Sequential(*(Block(i, width, s, depthwise) for i, s in zip(inputs, strides, strict=True)))
            )
            before = width
        self.classifier = nn.Linear(before, num_classes)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The output of every stage, ``(B, width, H, W)`` each."""
        if self.shrink > 1:
            images = F.avg_pool2d(images[:, :1], self.shrink)
        state, maps = self.pool(F.relu(self.stem(images))), []
        for stage in self.stages:
            state = stage(state)
            maps.append(state)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of images ``(B, 3, H, W)``."""
        return self.classifier(self.feature_maps(images)[-1].mean(dim=(2, 3)))


class Block(nn.Module):
    """Residual block: two 3×3 convolutions and a shortcut, a 1×1 convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, depthwise: bool = False) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride, depthwise)
        self.second = _convolution(outputs, outputs, 3, 1, depthwise)
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, state: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` → ``(B, outputs, H / stride, W / stride)``."""
        return F.relu(self.second(F.relu(self.first(state))) + self.shortcut(state))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, depthwise: bool = False) -> nn.Sequential:
    """Convolution without bias and its BatchNorm; depthwise separable if ``depthwise``."""
    padding = kernel // 2
    if not depthwise:
        return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, kernel, stride, padding, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


class SlimEmbedding(nn.Module):
    """A word embedding with fewer rows, a smaller width, or both.

    Token ids are those of the teacher's tokenizer. ``row_of_token`` maps them to rows; tokens without their own row
    share the last one, which stands for an unknown word.

    Args:
        vocab_size: number of token ids.
        rows: rows of the table, the shared one included.
        factor: width of a row; a linear layer maps it to ``hidden_size`` (Lan et al., ALBERT, 2019).
    """

    def __init__(self, vocab_size: int, rows: int, factor: int, hidden_size: int) -> None:
        super().__init__()
        for name, value in {"vocab_size": vocab_size, "rows": rows, "factor": factor}.items():
            check_positive(name, value)
        self.table = nn.Embedding(rows, factor)
        self.widen = nn.Linear(factor, hidden_size, bias=False)
        self.row_of_token: Tensor
        self.register_buffer("row_of_token", torch.zeros(vocab_size, dtype=torch.int32))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Token ids ``(B, L)`` → ``(B, L, hidden_size)``."""
        return self.widen(self.table(self.row_of_token[input_ids]))
