"""ResNet18 that resizes its images first, so that nets of several resolutions take the same input."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet

from course_lib.core.validation import check_positive


def resize_images(images: Tensor, resolution: int) -> Tensor:
    """Images ``(B, C, H, W)`` as ``(B, C, resolution, resolution)``, bilinear, without antialiasing."""
    return F.interpolate(images, size=(resolution, resolution), mode="bilinear", align_corners=False)


class ResizedResNet18(ResNet):
    """torchvision's ResNet18 behind a bilinear resize of its images.

    Args:
        resolution: height and width in pixels to which images are resized.

    Raises:
        ValueError: if ``resolution`` is not positive.

    Source: He et al., Deep Residual Learning, 2015.
    """

    def __init__(self, resolution: int, num_classes: int = 10) -> None:
        check_positive("resolution", resolution)
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
        self.resolution = resolution

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of images ``(B, 3, H, W)``."""
        return super().forward(resize_images(x, self.resolution))
