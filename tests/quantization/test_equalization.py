"""Cross-layer equalization: equal ranges, the same function, less error with one scale per tensor."""

import torch

from course_lib.quantization import equalize, fold_batchnorm, quantize_weights
from course_lib.quantization.equalization import equalizable_pairs
from course_lib.quantization.ptq import Scheme


def image(count=4):
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_equalized_layers_share_their_ranges_and_compute_the_same(small):
    folded = fold_batchnorm(small)
    uneven = torch.logspace(-2, 2, 8)
    folded.block.conv1.weight.mul_(uneven.view(-1, 1, 1, 1))
    folded.block.conv1.bias.mul_(uneven)
    folded.block.conv2.weight.div_(uneven.view(1, -1, 1, 1))
    balanced = equalize(folded)
    assert equalizable_pairs(folded) == [("block.conv1", "block.conv2")]
    assert torch.allclose(balanced(image()), folded(image()), rtol=1e-3, atol=1e-3)
    into = balanced.block.conv1.weight.flatten(1).abs().amax(1)
    out_of = balanced.block.conv2.weight.transpose(0, 1).flatten(1).abs().amax(1)
    assert torch.allclose(into, out_of, rtol=1e-3)
    per_tensor = Scheme(bits=6, granularity="per_tensor")
    errors = [
        (quantize_weights(model, per_tensor)(image()) - folded(image())).square().mean() for model in (folded, balanced)
    ]
    assert errors[1] < 0.2 * errors[0]
