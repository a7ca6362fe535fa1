"""BatchNorm statistics of a subnet, estimated again from training images."""

from __future__ import annotations

import copy

import torch
from torch import nn

from course_lib import models
from course_lib.architectures.layer_sizes import NORMS
from course_lib.architectures.modes import evaluating
from course_lib.data import Split, refuse_test


@torch.no_grad()
def recalibrate_batchnorm(model: nn.Module, split: Split, *, batch_size: int = 256) -> nn.Module:
    """A copy of ``model`` in eval mode whose BatchNorm layers have the mean and variance of their inputs on ``split``.

    The statistics are plain averages over the batches; labels are not read. In a supernet, channel ``c`` of a layer
    has another mean and variance in every subnet, because fewer channels are summed before it.

    Args:
        split: a few hundred to a thousand training images.

    Raises:
        TestSplitError: if ``split`` is the test split.

    Source: Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, 2019 (section 3.4).
    """
    refuse_test(split, "used to estimate BatchNorm statistics")
    calibrated = copy.deepcopy(model)
    norms = [module for module in calibrated.modules() if isinstance(module, NORMS)]
    momenta = [norm.momentum for norm in norms]
    with evaluating(calibrated):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over all batches
            norm.train()
        for inputs, _ in split.batches(batch_size):
            models.forward(calibrated, inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return calibrated.eval()
