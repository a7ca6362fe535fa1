"""A weight-sharing supernet: one set of weights, of which every subnet uses the first channels and blocks.

Source: Yu et al., Slimmable Neural Networks, 2018; Yu and Huang, Universally Slimmable Networks, 2019 (sandwich rule,
in-place distillation); Cai et al., Once-for-All, 2019 (elastic depth, width and resolution; sorted channels).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import architectures, models
from course_lib.architectures.resized_input import resize_images
from course_lib.search.sorting import sort_channels
from course_lib.search.space import RESNET18_SPACE, SearchSpace, Subnet, architecture
from course_lib.training.losses import soft_target_loss


class Supernet(nn.Module):
    """The largest subnet, whose weights all others share.

    Args:
        net: a plain net of the shape of ``space.largest``.
        space: the subnets.

    Raises:
        ValueError: if a tensor of ``net`` has another shape than the largest subnet.
    """

    def __init__(self, net: nn.Module, space: SearchSpace = RESNET18_SPACE) -> None:
        super().__init__()
        self.net: Any = net
        self.space = space
        check_shapes(net, architectures.build(architecture(space.largest, net.fc.out_features)))  # type: ignore[union-attr, arg-type]

    def forward(self, images: Tensor, subnet: Subnet | None = None) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, 3, H, W)``; ``subnet`` is the largest by default."""
        subnet, net = subnet or self.space.largest, self.net
        x = resize_images(images, subnet.resolution)
        x = sliced_convolution(x, net.conv1, net.bn1, subnet.widths[0]).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(len(subnet.depths)):
            for block in net.get_submodule(f"layer{stage + 1}")[: subnet.depths[stage]]:
                x = sliced_block(x, block, subnet.inner_widths[stage], subnet.widths[stage])
        x = x.mean(dim=(2, 3))
        return F.linear(x, net.fc.weight[:, : x.shape[1]], net.fc.bias)

    @torch.no_grad()
    def extract(self, subnet: Subnet) -> nn.Module:
        """A plain net of this shape with copies of the shared weights, in eval mode; ``storage.save`` can write it.

        Its BatchNorm statistics are those that all subnets shared while training, so it is of no use before
        ``recalibrate_batchnorm``.

        Raises:
            ValueError: if ``subnet`` is not in the space.
        """
        self.space.genes(subnet)
        plain = architectures.build(architecture(subnet, self.net.fc.out_features))
        shared = self.net.state_dict()
        for name, tensor in plain.state_dict().items():
            tensor.copy_(first_entries(shared[name], tensor.shape))
        return plain


def sliced_convolution(x: Tensor, conv: Any, norm: Any, outputs: int) -> Tensor:
    """The first ``outputs`` channels of a convolution and its BatchNorm, of an input that has the first channels."""
    y = F.conv2d(x, conv.weight[:outputs, : x.shape[1]], None, conv.stride, conv.padding)
    mean, var = norm.running_mean[:outputs], norm.running_var[:outputs]
    return F.batch_norm(
        y, mean, var, norm.weight[:outputs], norm.bias[:outputs], norm.training, norm.momentum, norm.eps
    )


def sliced_block(x: Tensor, block: Any, inner: int, outputs: int) -> Tensor:
    """A residual block with the first ``inner`` channels between its convolutions and ``outputs`` behind them."""
    y = sliced_convolution(x, block.conv1, block.bn1, inner).relu()
    y = sliced_convolution(y, block.conv2, block.bn2, outputs)
    if block.downsample is not None:
        conv, norm = block.downsample
        x = sliced_convolution(x, conv, norm, outputs)
    return (y + x).relu()


def first_entries(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The first entries of ``tensor`` along every dimension, ``shape`` in all."""
    return tensor[tuple(slice(size) for size in shape)]


def supernet_from(model: nn.Module, space: SearchSpace = RESNET18_SPACE) -> Supernet:
    """A supernet that starts from the most important channels of a trained ResNet18.

    Raises:
        ValueError: if ``model`` is no whole ResNet18 that is at least as wide as the largest subnet.
    """
    trained = sort_channels(model).state_dict()
    largest = architectures.build(architecture(space.largest, trained["fc.weight"].shape[0]))
    with torch.no_grad():
        for name, tensor in largest.state_dict().items():
            part = first_entries(trained[name], tensor.shape)
            if part.shape != tensor.shape:
                raise ValueError(f"model must be at least as wide as the space: {name} is {tuple(trained[name].shape)}")
            tensor.copy_(part)
    return Supernet(largest, space)


def sandwich_loss(space: SearchSpace, sampled: int = 2, temperature: float = 1.0) -> Callable[..., Tensor]:
    """The loss of one training step, for ``training.fit``: ``(supernet, images, labels) -> scalar``.

    The sandwich rule trains the largest subnet (on the labels), the smallest, and ``sampled`` random ones in every
    step. In-place distillation: those learn the soft targets of the largest. Random subnets are drawn from torch's
    generator, so that a seeded run is repeatable.

    Source: Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, 2019.
    """

    def loss(supernet: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        generator = random.Random(int(torch.randint(2**31, (1,))))
        teacher = supernet(images, space.largest).float()
        total = F.cross_entropy(teacher, labels)
        for subnet in (space.smallest, *(space.sample(generator) for _ in range(sampled))):
            total = total + soft_target_loss(supernet(images, subnet).float(), teacher, temperature)
        return total

    return loss


def check_shapes(net: nn.Module, expected: nn.Module) -> None:
    """Refuse a net whose tensors have other names or shapes than those of ``expected``.

    Raises:
        ValueError: names the first difference.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    for name, tensor in expected.state_dict().items():
        if shapes.get(name) != tuple(tensor.shape):
            raise ValueError(f"net must have {name} of shape {tuple(tensor.shape)}, got {shapes.get(name)}")


def load_supernet(space: SearchSpace = RESNET18_SPACE) -> Supernet:
    """The trained supernet that is shipped, in eval mode.

    Raises:
        AssetError: if its file is missing or damaged.
    """
    return Supernet(models.load("resnet18_supernet"), space).eval()
